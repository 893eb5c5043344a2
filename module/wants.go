package module

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
)

// Wants is what a module uses of what Envoy can restrict: the smallest list
// that it runs with. The lists are sorted. It is immutable.
type Wants struct {
	Calls     []string `json:"calls"`          // Proxy-Wasm host calls that it imports
	WASI      []string `json:"wasi,omitempty"` // WASI functions that it imports
	Callbacks []string `json:"callbacks"`      // callbacks that it exports
}

// Wants returns the imports and exports that Envoy can restrict. It omits those
// that Envoy does not know, because such a module can't be linked.
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

// appendKnown appends the string from known that equals name, so that the
// module's own string can be freed.
func appendKnown(names, known []string, name string) []string {
	if i := slices.Index(known, name); i >= 0 && !slices.Contains(names, name) {
		names = append(names, known[i])
	}
	return names
}

// All returns all names, sorted.
func (w Wants) All() []string {
	all := slices.Concat(w.Calls, w.WASI, w.Callbacks)
	slices.Sort(all)
	return all
}

// accepted is what modules of a filter with allow: computed may use: sorted
// names, separated by spaces, so that it can be compared.
type accepted string

func (a accepted) names() []string { return strings.Fields(string(a)) }

func (a accepted) with(names []string) accepted {
	all := slices.Concat(a.names(), names)
	slices.Sort(all)
	return accepted(strings.Join(slices.Compact(all), " "))
}

// computed returns a filter with the computed allow list of its module. It
// returns an error if that exceeds what was accepted for earlier modules. It
// returns f itself if it does not use allow: computed.
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
		return e.computed, nil // the first one
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

// accept records what the module of a good filter uses. A module that uses less
// removes nothing: the previous one may have to come back.
func (l *resolution) accept(f *definition.Filter) accepted {
	if !f.AllowComputed {
		delete(l.accepted, f.Name)
		return ""
	}
	l.accepted[f.Name] = l.accepted[f.Name].with(f.Allow)
	return l.accepted[f.Name]
}
