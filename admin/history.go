package admin

import (
	"slices"
	"sync"
	"time"

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
}

// add notes each filter whose version is not the newest that is known.
func (h *history) add(l *Loaded, now time.Time) {
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
