package swap

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/resource"
)

// The own slots of a listener take Lua filters only where its layout says so: one
// that was sent before there was any Lua filter has slots for Wasm filters. It is
// replaced when the Lua filters that it is to have can be put into the new one;
// until then it goes on, and what else changes in it does not wait for them.

// scriptsBeyond are the Lua filters that a listener is to have and that no slot of
// the layout takes.
func (v *state) scriptsBeyond(l *resource.Listener, layout *resource.Layout) []string {
	if layout.Lua {
		return nil
	}
	var names []string
	for _, name := range l.Filters {
		if f := v.filter(name); f != nil && f.Lua && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// scriptsServe tells whether it is worth replacing a listener for these Lua filters:
// whether one of them can be put in place, and no other has to be waited for.
func (v *state) scriptsServe(scripts []string) bool {
	return slices.ContainsFunc(scripts, v.canServe) && !slices.ContainsFunc(scripts, func(name string) bool {
		return !v.canServe(name) && v.filter(name).OnFailure != definition.Open
	})
}

// without are chains without some filters.
func without(chains []resource.Chain, filters []string) []resource.Chain {
	out := make([]resource.Chain, len(chains))
	for i, chain := range chains {
		out[i] = slices.DeleteFunc(slices.Clone(chain), func(w resource.Wanted) bool { return slices.Contains(filters, w.Filter) })
	}
	return out
}
