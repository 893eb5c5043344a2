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

// proved remembers of each filter the versions that Envoys were last seen to
// run. An Envoy that can't have the one that it is to have gets the last that it
// can: what was good once goes on, also where it did not run yet. See [decision].
//
// That is for versions that are, or were, in the base. One that ran only where a
// change under way has reached is on trial: it is remembered for when the change
// joins the base, and forgotten when it is undone.
type proved struct {
	mu      sync.Mutex
	filters map[string][]ran  // by name; the version that was put in place last comes first
	catalog *resource.Catalog // the newest
	waves   bool              // nodes have had choices

	kept    state.View // versions, by name, for the server after this one
	restore func(resource.Kept) (*resource.Filter, error)
}

// ran is a version that ran.
type ran struct {
	*resource.Filter
	trial bool
}

// versions are what is kept of a filter, as a list of keptVersion. They are not
// changed.
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

// decode gives what was kept of a filter.
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

// learn takes in what ran at another server, behind what ran here.
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

// maxProved is how many versions of a filter are remembered: Envoys of several
// kinds may each refuse what the others run.
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

// onTrial tells of a version that was not known whether it is not in the base. The
// caller holds p.mu.
func (p *proved) onTrial(f *resource.Filter) bool {
	if !p.waves {
		return false
	}
	for choice, in := range p.catalog.Filters(f.Name) {
		return choice != "" || in.Version != f.Version
	}
	return true
}

// touch has what is known of a filter kept. The caller holds p.mu.
func (p *proved) touch(name string) {
	if slices.ContainsFunc(p.filters[name], ran.keepable) {
		p.kept.Put(name, versions(p.filters[name]))
		return
	}
	p.kept.Remove(name)
}

// keepable are filters that Envoys fetch from here: an origin's cluster may be gone
// when xds-server starts again.
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

// published forgets filters that are gone, and what was on trial and is undone. What
// has joined the base is on trial no more.
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

// retry gives what is left of versions by the catalog of now.
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

// Needed are the SHA-256 of modules that an Envoy may be sent again, though no
// definition names them any more.
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

// instead gives s with versions that are none of avoid in place of those replaced,
// where there are such. Filters that Envoys fetch themselves stay: their origin's
// cluster may be gone.
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

// decide takes what a step of c's machine says of what it can have, and gives the
// snapshot that it is to have from now on, if that is another. The caller holds
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

// give gives what c gets by its decision, if it gets something else. The caller
// holds c.mu, and has its machine told.
func (s *Server) give(c *client) *resource.Snapshot {
	next := c.wants.snapshot(s.proved)
	if next == c.gets {
		return nil
	}
	c.gets = next
	if next != c.wants.chosen {
		s.log.Info("Envoy gets the last versions that ran in place of what it can't have", "node", c.node.ID, "refused", c.wants.refuses, "crashed", c.wants.crashes)
	}
	return next
}

// inPlace tells whether the Envoy runs all that it gets. The caller holds c.mu.
func (c *client) inPlace(now time.Time) bool {
	return !slices.ContainsFunc(c.machine.Filters(now), func(f swap.FilterStatus) bool {
		return f.State != swap.Running && f.State != swap.Unasked && f.State != swap.Unplaced
	})
}
