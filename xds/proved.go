package xds

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"wasmxds/resource"
	"wasmxds/state"
	"wasmxds/xds/swap"
)

// proved remembers the versions of each filter that Envoys were last seen to run. An Envoy
// that can't run the current version gets the last one that it can: what was good once
// continues, even where it did not run yet. See [decision].
//
// Only versions that are, or were, in the base are used. A version that ran only where a
// change in progress has reached is on trial: it is remembered until the change joins the
// base, and forgotten when the change is undone.
type proved struct {
	mu      sync.Mutex
	filters map[string][]ran  // by name; the version that was put in place last comes first
	catalog *resource.Catalog // the newest
	waves   bool              // Choose of some Publication was not nil

	kept    state.View // versions, by name, for the next process
	restore func(resource.Kept) (*resource.Filter, error)
}

// ran is a version that ran.
type ran struct {
	*resource.Filter
	trial bool
}

// versions is what is saved of a filter, encoded as a list of keptVersion. It is immutable.
type versions []ran

type keptVersion struct {
	resource.Kept
	Trial bool `json:"trial,omitempty"`
}

func newProved(ctx context.Context, kept state.View, restore func(resource.Kept) (*resource.Filter, error)) *proved {
	p := &proved{filters: map[string][]ran{}, kept: kept, restore: restore}
	state.Each(ctx, kept, "which versions of a filter have run", func(name string, list []keptVersion) error {
		filters, err := p.decode(name, list)
		if err != nil {
			return err
		}
		p.filters[name] = filters
		return nil
	})
	return p
}

// decode decodes what was saved of a filter.
func (p *proved) decode(name string, list []keptVersion) ([]ran, error) {
	var filters []ran
	for _, k := range list {
		f, err := p.restore(k.Kept)
		if err != nil {
			return nil, err
		}
		if f.Name != name {
			return nil, fmt.Errorf("it is of the filter %q", f.Name)
		}
		filters = append(filters, ran{f, k.Trial})
	}
	return filters, nil
}

// learn adds versions that ran at another replica, after those that ran here.
func (p *proved) learn(name string, theirs []ran) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range theirs {
		had := p.filters[name]
		if len(had) < maxProved && !slices.ContainsFunc(had, func(o ran) bool { return o.Version == r.Version }) {
			p.filters[name] = append(slices.Clip(had), r)
		}
	}
}

// maxProved is how many versions of a filter are remembered: Envoys of several kinds may
// each reject what the others run.
const maxProved = 4

func (p *proved) add(filters []*resource.Filter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range filters {
		had := p.filters[f.Name]
		if len(had) > 0 && had[0].Filter == f {
			continue
		}
		now := ran{f, p.onTrial(f)}
		var others []ran
		for _, o := range had {
			if o.Version != f.Version {
				others = append(others, o)
			} else {
				now.trial = now.trial && o.trial
			}
		}
		p.filters[f.Name] = append([]ran{now}, others[:min(len(others), maxProved-1)]...)
		p.touch(f.Name)
	}
}

// onTrial reports whether a version that was not known is not in the base. The caller holds
// p.mu.
func (p *proved) onTrial(f *resource.Filter) bool {
	if !p.waves {
		return false
	}
	for choice, in := range p.catalog.Filters(f.Name) {
		return choice != "" || in.Version != f.Version
	}
	return true
}

// touch saves what is known of a filter. The caller holds p.mu.
func (p *proved) touch(name string) {
	if slices.ContainsFunc(p.filters[name], ran.keepable) {
		p.kept.Put(name, versions(p.filters[name]))
		return
	}
	p.kept.Remove(name)
}

// keepable reports whether Envoys fetch the filter from this server. If they fetch it from
// an origin, its cluster may no longer exist when xds-server restarts.
func (r ran) keepable() bool { return !r.Direct }

func (v versions) MarshalJSON() ([]byte, error) {
	var list []keptVersion
	for _, r := range v {
		if r.keepable() {
			list = append(list, keptVersion{r.Keep(), r.trial})
		}
	}
	return json.Marshal(list)
}

// published forgets filters that no longer exist, and versions on trial that were undone.
// Versions that have joined the base are no longer on trial.
func (p *proved) published(pub Publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catalog, p.waves = pub.Catalog, p.waves || pub.Choose != nil
	for name, had := range p.filters {
		var left []ran
		if p.catalog.Filter(name) != nil {
			left = p.retry(name, had)
		}
		if slices.Equal(left, had) {
			continue
		}
		p.filters[name] = left
		if len(left) == 0 {
			delete(p.filters, name)
		}
		p.touch(name)
	}
}

// retry returns the versions that remain with the current catalog.
func (p *proved) retry(name string, had []ran) []ran {
	if !slices.ContainsFunc(had, func(r ran) bool { return r.trial }) {
		return had
	}
	var left []ran
	for _, r := range had {
		wanted := false
		for choice, f := range p.catalog.Filters(name) {
			if f.Version == r.Version {
				wanted, r.trial = true, r.trial && choice != ""
			}
		}
		if wanted || !r.trial {
			left = append(left, r)
		}
	}
	return left
}

// Needed returns the SHA-256 of modules that an Envoy may be sent again although no
// definition names them.
func (s *Server) Needed() []string {
	p := s.proved
	p.mu.Lock()
	defer p.mu.Unlock()
	var sums []string
	for _, filters := range p.filters {
		for _, f := range filters {
			sums = append(sums, f.SHA256)
		}
	}
	return sums
}

// instead returns s with the versions in replaced exchanged for versions that are not in
// avoid, where there are any. Filters that Envoys fetch from an origin are not used as
// replacements: its cluster may no longer exist.
func (p *proved) instead(s *resource.Snapshot, replaced, avoid []string) *resource.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	filters := s.Filters
	for i, f := range s.Filters {
		if !slices.Contains(replaced, f.Version) {
			continue
		}
		good := slices.IndexFunc(p.filters[f.Name], func(r ran) bool {
			return !r.trial && !r.Direct && !slices.Contains(avoid, r.Version)
		})
		if good < 0 {
			continue
		}
		if &filters[0] == &s.Filters[0] {
			filters = slices.Clone(filters)
		}
		filters[i] = p.filters[f.Name][good].Filter
	}
	if len(filters) == 0 || &filters[0] == &s.Filters[0] {
		return s
	}
	return s.With(filters)
}

// decide processes what a step of c's machine reports about versions that the Envoy can't
// run. It returns the new snapshot of c, or nil if that does not change. The caller holds
// c.mu.
func (s *Server) decide(c *client, ready swap.Ready, now time.Time) *resource.Snapshot {
	if len(ready.Proved) > 0 {
		s.proved.add(ready.Proved)
	}
	for _, version := range ready.Crashing {
		c.wants = c.wants.crashed(version)
	}
	switch {
	case len(ready.Stuck) > 0:
		c.wants = c.wants.refused(ready.Stuck)
	case c.wants.falls && c.inPlace(now):
		c.wants = c.wants.inPlace()
	case len(ready.Crashing) > 0:
	default:
		return nil
	}
	return s.give(c)
}

// give updates the snapshot of c by its decision. It returns the new one, which the caller
// must pass to the machine, or nil if it does not change. The caller holds c.mu.
func (s *Server) give(c *client) *resource.Snapshot {
	next := c.wants.snapshot(s.proved)
	if next == c.gets {
		return nil
	}
	c.gets = next
	if next != c.wants.chosen {
		s.log.Info("Envoy gets the last versions that ran in place of what it can't have", "node", c.node.ID, "rejected", c.wants.refuses, "crashed", c.wants.crashes)
	}
	return next
}

// inPlace reports whether the Envoy runs everything that it gets. The caller holds c.mu.
func (c *client) inPlace(now time.Time) bool {
	return !slices.ContainsFunc(c.machine.Filters(now), func(f swap.FilterStatus) bool {
		return f.State != swap.Running && f.State != swap.Unasked && f.State != swap.Unplaced
	})
}
