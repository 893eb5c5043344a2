package admin

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// kept is how many versions of a filter are remembered.
const kept = 20

// version is what a filter was from At on.
type version struct {
	At      time.Time
	Changed time.Time // when the change that led to it was seen in the directory
	Version string
	ID      string // Version, or where only what it is attached to or the like has changed, that and a number
	Filter  *module.Filter
	Refused refused
}

// refused is on how many Envoys a version was refused, at most at once, and why.
type refused struct {
	Envoys int
	Reason string
}

// history remembers the versions that filters had since xds-server started.
// A filter that was removed is forgotten.
type history struct {
	mu      sync.Mutex
	filters map[string][]version // newest first
	// problems are those that there are, and since when.
	problems map[definition.Problem]time.Time
}

// sinceProblem is since when something is wrong; zero: it is not known.
func (h *history) sinceProblem(p definition.Problem) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.problems[p]
}

func (h *history) addProblems(all []definition.Problem, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := make(map[definition.Problem]time.Time, len(all))
	for _, p := range all {
		since, ok := h.problems[p]
		if !ok {
			since = now
		}
		next[p] = since
	}
	h.problems = next
}

// add notes each filter whose version is not the newest that is known.
func (h *history) add(l *Loaded, now time.Time) {
	h.addProblems(l.Problems, now)
	if l.Set == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	filters := l.inForce().Filters
	next := make(map[string][]version, len(filters))
	for _, f := range filters {
		name := f.Definition.Name
		had := h.filters[name]
		if v := l.version(name); v != "" && f.Ready() && (len(had) == 0 || had[0].Version != v || !samePlace(had[0].Filter, f)) {
			next := version{At: now, Changed: l.Changed, Version: v, ID: idAfter(had, v), Filter: f}
			had = slices.Insert(slices.Clone(had[:min(len(had), kept-1)]), 0, next)
		}
		next[name] = had
	}
	h.filters = next
}

// samePlace tells whether two definitions of a filter put it in the same place: what
// a version does not say.
func samePlace(a, b *module.Filter) bool {
	x, y := a.Definition, b.Definition
	return x == y || x.Order == y.Order && x.OnFailure == y.OnFailure && reflect.DeepEqual(x.Place, y.Place) && reflect.DeepEqual(x.Attach, y.Attach)
}

// idAfter is a name for a version that those before it do not have.
func idAfter(had []version, v string) string {
	n := 1
	for _, h := range had {
		if h.Version == v {
			n++
		}
	}
	if n == 1 {
		return v
	}
	return fmt.Sprintf("%s.%d", v, n)
}

// refuse notes that Envoys refuse a version of a filter.
func (h *history) refuse(name, v string, by refused) {
	h.mu.Lock()
	defer h.mu.Unlock()
	had := h.filters[name]
	for i := range had {
		if had[i].Version == v && had[i].Refused.Envoys < by.Envoys {
			had = slices.Clone(had) // what was given out stays as it is
			had[i].Refused = by
			h.filters[name] = had
		}
	}
}

// of gives the versions of a filter, newest first.
func (h *history) of(name string) []version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.filters[name]
}
