package admin

import (
	"hash/maphash"
	"sync"

	"wasmxds/xds"
)

// generation is what all that is shown is of: as long as it is the same,
// nothing is computed again.
type generation struct{ fleet, changes uint64 }

func (s *Server) generation(of *sight) generation {
	return generation{of.fleet.Generation(), s.changes.Load()}
}

// sight is a fleet, and what was counted of it last.
type sight struct {
	fleet     Fleet
	summaries summaries
	overviews overviews
}

func newSight(f Fleet) *sight {
	return &sight{fleet: f, overviews: overviews{seed: maphash.MakeSeed()}}
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

func (v *sight) summary() *summary {
	c := &v.summaries
	c.mu.Lock()
	defer c.mu.Unlock()
	now := v.fleet.Generation()
	if c.last == nil || c.last.of != now {
		c.last = &summary{of: now}
		c.last.envoys, c.last.filters = v.fleet.Summary()
	}
	return c.last
}
