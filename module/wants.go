package module

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
)

// Wants is what a module asks for of what Envoy can restrict: the smallest list that
// it runs with. The lists are sorted. Immutable.
type Wants struct {
	Calls     []string `json:"calls"`          // host calls of Proxy-Wasm that it imports
	WASI      []string `json:"wasi,omitempty"` // those of WASI
	Callbacks []string `json:"callbacks"`      // which it exports
}

// Wants gives what Envoy can restrict of the imports and exports. What Envoy does not
// know is not in it: a module can't be linked with that.
func (c *Contents) Wants() Wants {
	w := Wants{Calls: []string{}, Callbacks: []string{}}
	for _, imported := range c.Imports {
		if name, is := strings.CutPrefix(imported, "env."); is {
			w.Calls = appendKnown(w.Calls, definition.HostCalls, name)
		}
		for _, wasi := range []string{"wasi_snapshot_preview1.", "wasi_unstable."} {
			if name, is := strings.CutPrefix(imported, wasi); is {
				w.WASI = appendKnown(w.WASI, definition.WASICalls, name)
			}
		}
	}
	for _, name := range c.Exports {
		w.Callbacks = appendKnown(w.Callbacks, definition.Callbacks, name)
	}
	for _, names := range [][]string{w.Calls, w.WASI, w.Callbacks} {
		slices.Sort(names)
	}
	return w
}

// appendKnown adds the string that is in known, so that a module's own is not held.
func appendKnown(names, known []string, name string) []string {
	if i := slices.Index(known, name); i >= 0 && !slices.Contains(names, name) {
		names = append(names, known[i])
	}
	return names
}

// All gives every name, sorted.
func (w Wants) All() []string {
	all := slices.Concat(w.Calls, w.WASI, w.Callbacks)
	slices.Sort(all)
	return all
}

// accepted is what modules of a filter with allow: computed may want: names, sorted,
// with spaces between, so that it can be compared.
type accepted string

func (a accepted) names() []string { return strings.Fields(string(a)) }

func (a accepted) with(names []string) accepted {
	all := slices.Concat(a.names(), names)
	slices.Sort(all)
	return accepted(strings.Join(slices.Compact(all), " "))
}

// computed gives a filter with what its module wants as its allow list, and an error
// where that is more than was accepted of modules before it. Of a filter that
// computes nothing it is the filter.
func (l *resolution) computed(e *wantedFilter, f *definition.Filter, m Info) (*definition.Filter, error) {
	if !f.AllowComputed {
		return f, nil
	}
	about := subject{f, m.SHA256}
	if e.computed == nil || e.computedOf != about {
		w, err := l.Store.Wants(m.SHA256)
		if err != nil {
			return nil, err
		}
		made := *f
		made.Allow = w.All()
		e.computed, e.computedOf = &made, about
	}
	before, known := l.accepted[f.Name]
	if !known {
		return e.computed, nil // the first
	}
	may := before.with(f.Allow).names()
	var more []string
	for _, name := range e.computed.Allow {
		if !slices.Contains(may, name) {
			more = append(more, name)
		}
	}
	if len(more) > 0 {
		return nil, &ContentError{
			Message: fmt.Sprintf("%s, sha256 %.12s, wants %s, which no module of this filter was allowed before", keyOf(f), m.SHA256, strings.Join(more, ", ")),
			Hint:    "if it may, write allow: [computed, " + strings.Join(more, ", ") + "]",
		}
	}
	return e.computed, nil
}

// accept remembers what the module of a filter that is good wants. A module that
// wants less takes nothing away: the one before may have to come back.
func (l *resolution) accept(f *definition.Filter) accepted {
	if !f.AllowComputed {
		delete(l.accepted, f.Name)
		return ""
	}
	l.accepted[f.Name] = l.accepted[f.Name].with(f.Allow)
	return l.accepted[f.Name]
}
