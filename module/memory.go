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

// memory is what a Resolver remembers across restarts: the last good version of
// each filter, and the validators of origins. It is written half a second after
// a change.
//
// A process that is killed loses what became good in its last half second.
// Since modules are stored when they arrive, the next process finds the same
// versions from the definitions, tries them again, and publishes the same. Only
// if a module is not pinned and its origin is unavailable at that moment,
// Envoys go back to the previous version until the origin is available again.
type memory struct {
	origins map[originKey]knowledge

	keptFilters state.View // Kept, by name
	keptOrigins state.View // savedOrigin, by savedOrigin.key
}

// filterKeys is the prefix of the last good versions of filters, which servers
// share.
const filterKeys = "modules/filter/"

func newMemory(kept, own *state.Writer) memory {
	return memory{map[originKey]knowledge{}, kept.View(filterKeys), own.View("modules/origin/")}
}

type savedOrigin struct {
	URL        string `json:"url"`
	Pull       string `json:"pull,omitempty"`
	PullSecret string `json:"pullSecret,omitempty"`
	SHA256     string `json:"sha256,omitempty"` // only if it must be signed
	Signed     string `json:"signed,omitempty"` // by whom, as in the definition
	Validators
	Module Info `json:"module"`
}

// key returns a hash as the storage key, because URLs have any length.
func (o savedOrigin) key() string {
	parts := []string{o.URL, o.Pull, o.PullSecret}
	if o.SHA256 != "" || o.Signed != "" {
		parts = append(parts, o.SHA256, o.Signed)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// savedOf returns an origin about which nothing is known.
func savedOf(key originKey) savedOrigin {
	return savedOrigin{URL: key.url, Pull: string(key.pull), PullSecret: key.secret, SHA256: key.sha256, Signed: key.signed}
}

// MarshalJSON encodes g as a Kept.
func (g good) MarshalJSON() ([]byte, error) {
	k, err := Keep(g.definition, g.module)
	if err != nil {
		return nil, err
	}
	k.Trial, k.Accepted = g.key, g.accepted
	return json.Marshal(k)
}

// keep stores the last good version of a filter.
func (m *memory) keep(g good) { m.keptFilters.Put(g.definition.Name, g) }

// drop removes the last good version of a filter.
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

// restore restores the last good versions from before a restart, as far as
// their modules are still in the store.
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
		// Also if the module is missing: other servers may have it, and the
		// stored version is only removed when nobody wants the filter.
		e := &wantedFilter{}
		if g.module.ABI == "" || there[g.module.SHA256] { // without an ABI, only Envoys fetch it
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

// present verifies the modules of these, and returns which are in the store.
func (l *resolution) present(filters map[string]good, origins map[string]savedOrigin) map[string]bool {
	there := map[string]bool{}
	for _, g := range filters {
		if g.module.ABI != "" { // otherwise, only Envoys fetch it
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
	_ = group.Wait() // the functions return no errors
	for i, sum := range named {
		there[sum] = good[i]
	}
	return there
}
