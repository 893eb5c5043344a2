package admin

import (
	"sync"

	"wasmxds/xds"
)

// generation is what all that is shown is of: as long as it is the same,
// nothing is computed again.
type generation struct{ fleet, changes uint64 }

func (s *Server) generation() generation {
	return generation{s.opts.Fleet.Generation(), s.changes.Load()}
}

// summary counts the fleet. Whoever waits for a filter asks ten times a second.
type summary struct {
	of      uint64 // generation of the fleet
	envoys  xds.NodeCount
	filters map[string]xds.FilterCount // not to be changed
}

type summaries struct {
	mu   sync.Mutex
	last *summary
}

func (s *Server) summary() *summary {
	c := &s.summaries
	c.mu.Lock()
	defer c.mu.Unlock()
	now := s.opts.Fleet.Generation()
	if c.last == nil || c.last.of != now {
		c.last = &summary{of: now}
		c.last.envoys, c.last.filters = s.opts.Fleet.Summary()
	}
	return c.last
}
