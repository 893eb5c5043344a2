package module

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"wasmxds/definition"
	"wasmxds/state"
)

// memory is what a Resolver knows across restarts: what was good last of each
// filter, and what origins said of what they gave. It is written down half a
// second after it changed.
//
// A process that is killed loses what became good in its last half second. The
// modules are kept as they come, so the next process finds all of it again from
// the definitions, tries it anew, and publishes the same. Only where a module is
// not pinned and its origin is away at that moment are Envoys swapped back to the
// version before, until the origin is there again.
type memory struct {
	origins map[originKey]knowledge

	keptFilters state.View // Kept, by name
	keptOrigins state.View // savedOrigin, by savedOrigin.key
}

// filterKeys are those of what was good of filters, which servers share.
const filterKeys = "modules/filter/"

func newMemory(kept, own *state.Writer) memory {
	return memory{map[originKey]knowledge{}, kept.View(filterKeys), own.View("modules/origin/")}
}

type savedOrigin struct {
	URL        string `json:"url"`
	Pull       string `json:"pull,omitempty"`
	PullSecret string `json:"pullSecret,omitempty"`
	SHA256     string `json:"sha256,omitempty"` // only where it must be signed
	Signed     string `json:"signed,omitempty"` // by whom, as the definition says
	Validators
	Module Info `json:"module"`
}

// key is where it is kept: URLs have any length.
func (o savedOrigin) key() string {
	parts := []string{o.URL, o.Pull, o.PullSecret}
	if o.SHA256 != "" || o.Signed != "" {
		parts = append(parts, o.SHA256, o.Signed)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// savedOf is an origin of which nothing is known.
func savedOf(key originKey) savedOrigin {
	return savedOrigin{URL: key.url, Pull: string(key.pull), PullSecret: key.secret, SHA256: key.sha256, Signed: key.signed}
}

// MarshalJSON makes it a Kept.
func (g good) MarshalJSON() ([]byte, error) {
	k, err := Keep(g.definition, g.module)
	if err != nil {
		return nil, err
	}
	k.Trial, k.Accepted = g.key, g.accepted
	return json.Marshal(k)
}

// keep keeps what is good of a filter now.
func (m *memory) keep(g good) { m.keptFilters.Put(g.definition.Name, g) }

// drop forgets what was good of a filter.
func (m *memory) drop(name string) { m.keptFilters.Remove(name) }

func (m *memory) origin(key originKey) knowledge { return m.origins[key] }

func (m *memory) learn(key originKey, k knowledge) {
	if (key.sha256 == "" || k.info.Signed != "") && m.origins[key] != k {
		m.origins[key] = k
		o := savedOf(key)
		o.Validators, o.Module = k.Validators, k.info
		m.keptOrigins.Put(o.key(), o)
	}
}

func (m *memory) forget(but map[originKey]*origin) {
	for key := range m.origins {
		if but[key] == nil {
			delete(m.origins, key)
			m.keptOrigins.Remove(savedOf(key).key())
		}
	}
}

// restore takes over what was good before a restart, as far as the store of
// modules still has it.
func (l *resolution) restore() {
	m := &l.memory
	filters, origins := map[string]good{}, map[string]savedOrigin{}
	state.Each(l.ctx, m.keptFilters, "what was good of a filter", func(name string, f Kept) error {
		d, err := f.Restore()
		if err == nil && d.Name != name {
			err = fmt.Errorf("it is of the filter %q", d.Name)
		}
		if err == nil {
			filters[name] = good{d, f.Module, f.Trial, f.Accepted}
			l.prove(f.Module)
		}
		if err == nil && d.AllowComputed {
			l.accepted[name] = f.Accepted
		}
		return err
	})
	state.Each(l.ctx, m.keptOrigins, "what an origin gave", func(key string, o savedOrigin) error {
		origins[key] = o
		return nil
	})
	there := l.present(filters, origins)
	for name, g := range filters {
		// Where the module is gone, too: others may have it, and what is kept goes only
		// when nobody wants the filter.
		e := &wantedFilter{}
		if g.module.ABI == "" || there[g.module.SHA256] { // no ABI: only Envoys have it
			e.good = g
		} else {
			l.lost[name] = g
		}
		l.filters[name] = e
	}
	for kept, o := range origins {
		if there[o.Module.SHA256] {
			key := originKey{url: o.URL, sha256: o.SHA256, pull: definition.PullPolicy(o.Pull), secret: o.PullSecret, signed: o.Signed}
			l.prove(o.Module)
			m.origins[key] = knowledge{Validators: o.Validators, info: o.Module}
			continue
		}
		m.keptOrigins.Remove(kept)
	}
}

// present verifies the modules that these have.
func (l *resolution) present(filters map[string]good, origins map[string]savedOrigin) map[string]bool {
	there := map[string]bool{}
	for _, g := range filters {
		if g.module.ABI != "" { // else only Envoys have it
			there[g.module.SHA256] = false
		}
	}
	for _, o := range origins {
		there[o.Module.SHA256] = false
	}
	named := slices.Collect(maps.Keys(there))
	good := make([]bool, len(named))
	var group errgroup.Group
	group.SetLimit(8)
	for i, sum := range named {
		group.Go(func() error {
			_, err := l.Store.Stat(sum)
			if err != nil {
				l.Logger.Error("module that was good before the restart is lost", "sha256", sum, "error", err)
			}
			good[i] = err == nil
			return nil
		})
	}
	_ = group.Wait() // they give no error
	for i, sum := range named {
		there[sum] = good[i]
	}
	return there
}
