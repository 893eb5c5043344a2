package xds

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"wasmxds/resource"
	"wasmxds/state"
	"wasmxds/xds/swap"
)

// proved remembers of each filter the versions that Envoys were last seen to
// run. An Envoy that starts while it refuses the newest one gets the last that
// it does not refuse: what was good once goes on, also where it did not run yet.
type proved struct {
	mu      sync.Mutex
	filters map[string][]*resource.Filter // by name; the version that was put in place last comes first
	// instead has the snapshots with proved versions in place of refused
	// ones, so that all Envoys of a group share them.
	instead map[instead]*resource.Snapshot

	kept state.View // versions, by name, for the server after this one
}

// versions are what is kept of a filter, as a list of resource.Kept. They are not
// changed.
type versions []*resource.Filter

// instead is a snapshot and the versions in it that were refused.
type instead struct {
	snap    *resource.Snapshot
	refused string
}

func newProved(ctx context.Context, kept state.View, restore func(resource.Kept) (*resource.Filter, error)) *proved {
	p := &proved{filters: map[string][]*resource.Filter{}, instead: map[instead]*resource.Snapshot{}, kept: kept}
	state.Each(ctx, kept, "which versions of a filter have run", func(name string, list []resource.Kept) error {
		var filters []*resource.Filter
		for _, k := range list {
			f, err := restore(k)
			if err != nil {
				return err
			}
			if f.Name != name {
				return fmt.Errorf("it is of the filter %q", f.Name)
			}
			filters = append(filters, f)
		}
		p.filters[name] = filters
		return nil
	})
	return p
}

// maxProved is how many versions of a filter are remembered: Envoys of several
// kinds may each refuse what the others run.
const maxProved = 4

func (p *proved) add(filters []*resource.Filter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range filters {
		had := p.filters[f.Name]
		if len(had) > 0 && had[0] == f {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(had), func(o *resource.Filter) bool { return o.Version == f.Version })
		p.filters[f.Name] = append([]*resource.Filter{f}, others[:min(len(others), maxProved-1)]...)
		p.touch(f.Name)
	}
}

// touch has what is known of a filter kept. The caller holds p.mu.
func (p *proved) touch(name string) {
	clear(p.instead)
	if slices.ContainsFunc(p.filters[name], keepable) {
		p.kept.Put(name, versions(p.filters[name]))
		return
	}
	p.kept.Remove(name)
}

// keepable are filters that Envoys fetch from here: an origin's cluster may be gone
// when xds-server starts again.
func keepable(f *resource.Filter) bool { return !f.Direct }

func (v versions) MarshalJSON() ([]byte, error) {
	var list []resource.Kept
	for _, f := range v {
		if keepable(f) {
			list = append(list, f.Keep())
		}
	}
	return json.Marshal(list)
}

// keep forgets filters that are gone.
func (p *proved) keep(c *resource.Catalog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.instead)
	for name := range p.filters {
		if c.Filter(name) == nil {
			delete(p.filters, name)
			p.touch(name)
		}
	}
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

// of gives s with proved versions in place of refused ones; nil where there is
// none. Filters that Envoys fetch themselves stay: their origin's cluster may
// be gone.
func (p *proved) of(s *resource.Snapshot, refused []string) *resource.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := instead{s, strings.Join(refused, " ")}
	if done := p.instead[key]; done != nil {
		return done
	}
	filters := slices.Clone(s.Filters)
	found := false
	for i, f := range filters {
		if !slices.Contains(refused, f.Version) {
			continue
		}
		good := slices.IndexFunc(p.filters[f.Name], func(o *resource.Filter) bool {
			return !slices.Contains(refused, o.Version) && !o.Direct
		})
		if good >= 0 {
			filters[i], found = p.filters[f.Name][good], true
		}
	}
	if !found {
		return nil
	}
	with := s.With(filters)
	p.instead[key] = with
	return with
}

// instead gives the snapshot that c is to have from now on, if it is another:
// one with what is proved where it is stuck with what is not, and back once that
// is in place. The caller holds c.mu.
func (s *Server) instead(c *client, ready swap.Ready, now time.Time) *resource.Snapshot {
	if len(ready.Proved) > 0 {
		s.proved.add(ready.Proved)
	}
	if len(ready.Stuck) > 0 {
		for _, version := range ready.Stuck {
			if !slices.Contains(c.refused, version) {
				c.refused = append(c.refused, version)
			}
		}
		with := s.proved.of(c.snap, c.refused)
		if with == nil || with == c.instead {
			return nil
		}
		c.instead = with
		s.log.Info("Envoy gets the last versions that ran in place of what it refuses", "node", c.node.ID, "refused", c.refused)
		return with
	}
	if c.instead == nil {
		return nil
	}
	for _, f := range c.machine.Filters(now) {
		if f.State != swap.Running && f.State != swap.Unasked {
			return nil
		}
	}
	c.instead = nil
	return c.snap
}
