package admin

import (
	"hash/maphash"
	"sync"

	"wasmxds/xds"
)

// generation identifies everything that is shown: as long as it is the same,
// nothing is computed again.
type generation struct{ fleet, changes uint64 }

func (s *Server) generation(of *sight) generation {
	return generation{of.fleet.Generation(), s.changes.Load()}
}

// sight is a fleet with its latest counts.
type sight struct {
	fleet     Fleet
	summaries summaries
	overviews overviews
}

func newSight(f Fleet) *sight {
	return &sight{fleet: f, overviews: overviews{seed: maphash.MakeSeed()}}
}

// summary is a cached summary of the fleet. Clients that wait for a filter
// request it ten times a second.
type summary struct {
	of      uint64 // of the fleet
	envoys  xds.NodeCount
	filters map[string]xds.FilterCount // must not be modified
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
