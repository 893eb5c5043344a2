package admin

import (
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
	Filter  *module.Filter
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
		if v := l.version(name); v != "" && f.Ready() && (len(had) == 0 || had[0].Version != v) {
			had = slices.Insert(slices.Clone(had[:min(len(had), kept-1)]), 0, version{now, l.Changed, v, f})
		}
		next[name] = had
	}
	h.filters = next
}

// of gives the versions of a filter, newest first.
func (h *history) of(name string) []version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.filters[name]
}
