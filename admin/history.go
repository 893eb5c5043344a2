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

// kept is the number of versions of a filter that are remembered.
const kept = 20

// version is a version of a filter, which was in force from At on.
type version struct {
	At      time.Time
	Changed time.Time // when its change was seen in the directory
	Version string
	ID      string // Version, with a number appended if only the attachment or the like has changed
	Filter  *module.Filter
	Refused refused
}

// refused is on how many Envoys a version was rejected at the same time, at
// most, and why.
type refused struct {
	Envoys int
	Reason string
}

// history has the versions of filters since xds-server started. Filters that
// were removed are forgotten.
type history struct {
	mu      sync.Mutex
	filters map[string][]version // newest first
	// problems are the current problems, with the time when they began.
	problems map[definition.Problem]time.Time
}

// sinceProblem returns when a problem began, or zero if this is not known.
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

// add adds a version for each filter that has changed.
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

// samePlace reports whether two definitions of a filter have the same place,
// which is not part of its version.
func samePlace(a, b *module.Filter) bool {
	x, y := a.Definition, b.Definition
	return x == y || x.Order == y.Order && x.OnFailure == y.OnFailure && reflect.DeepEqual(x.Place, y.Place) && reflect.DeepEqual(x.Attach, y.Attach)
}

// idAfter returns a unique id for a version.
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

// refuse records that Envoys reject a version of a filter.
func (h *history) refuse(name, v string, by refused) {
	h.mu.Lock()
	defer h.mu.Unlock()
	had := h.filters[name]
	for i := range had {
		if had[i].Version == v && had[i].Refused.Envoys < by.Envoys {
			had = slices.Clone(had) // slices that were returned must not change
			had[i].Refused = by
			h.filters[name] = had
		}
	}
}

// of returns the versions of a filter, newest first.
func (h *history) of(name string) []version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.filters[name]
}
