package xds

import (
	"slices"
	"sync"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// proved remembers of each filter the version that some Envoy was last seen to
// run. An Envoy that starts while a newer one is refused gets that instead: what
// was good once goes on, also where it did not run yet.
type proved struct {
	mu      sync.Mutex
	filters map[string]*resource.Filter
	// instead has the snapshots with proved versions in place of refused
	// ones, so that all Envoys of a group share them.
	instead map[*resource.Snapshot]*resource.Snapshot
}

func newProved() *proved {
	return &proved{filters: map[string]*resource.Filter{}, instead: map[*resource.Snapshot]*resource.Snapshot{}}
}

func (p *proved) add(filters []*resource.Filter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range filters {
		if p.filters[f.Name] != f {
			p.filters[f.Name] = f
			clear(p.instead)
		}
	}
}

// keep forgets filters that are gone.
func (p *proved) keep(c *resource.Catalog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.instead)
	for name := range p.filters {
		if c.Filter(name) == nil {
			delete(p.filters, name)
		}
	}
}

// of gives s with proved versions in place of those of the filters named; nil
// where no other version is proved. Filters that Envoys fetch themselves stay:
// their origin's cluster may be gone.
func (p *proved) of(s *resource.Snapshot, names []string) *resource.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done := p.instead[s]; done != nil {
		return done
	}
	filters := slices.Clone(s.Filters)
	found := false
	for i, f := range filters {
		old := p.filters[f.Name]
		if slices.Contains(names, f.Name) && old != nil && old.Version != f.Version && !old.Direct {
			filters[i], found = old, true
		}
	}
	if !found {
		return nil
	}
	with := *s
	with.Filters = filters
	p.instead[s] = &with
	return &with
}

// proven steps c to what is proved where it is stuck with what is not, and
// back once that is in place. The caller holds c.mu.
func (s *Server) proven(c *client) []swap.Send {
	if filters := c.machine.Proved(); len(filters) > 0 {
		s.proved.add(filters)
	}
	now := s.now()
	if c.instead == nil {
		names := c.machine.Stuck()
		if len(names) == 0 {
			return nil
		}
		if c.instead = s.proved.of(c.snap, names); c.instead == nil {
			return nil
		}
		s.log.Info("Envoy gets the last version that ran, as it refuses the newest", "node", c.node.ID, "filters", names)
		return c.machine.Step(now, swap.Publish{Snapshot: c.instead})
	}
	for _, f := range c.machine.Filters() {
		if f.State != swap.Running {
			return nil
		}
	}
	c.instead = nil
	return c.machine.Step(now, swap.Publish{Snapshot: c.snap})
}
