package swap

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/resource"
)

// The own slots of a listener accept Lua filters only if its layout says so: a listener
// that was sent before there was any Lua filter has slots for Wasm filters only. It is
// replaced when its Lua filters can be put into the new one. Until then it stays, and other
// changes in it do not wait for them.

// scriptsBeyond returns the Lua filters of a listener that no slot of the layout accepts.
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

// scriptsServe reports whether these Lua filters justify replacing a listener: whether one
// of them can be put in place, and none of the others must be waited for.
func (v *state) scriptsServe(scripts []string) bool {
	return slices.ContainsFunc(scripts, v.canServe) && !slices.ContainsFunc(scripts, func(name string) bool {
		return !v.canServe(name) && v.filter(name).OnFailure != definition.Open
	})
}

// without returns chains without some filters.
func without(chains []resource.Chain, filters []string) []resource.Chain {
	out := make([]resource.Chain, len(chains))
	for i, chain := range chains {
		out[i] = slices.DeleteFunc(slices.Clone(chain), func(w resource.Wanted) bool { return slices.Contains(filters, w.Filter) })
	}
	return out
}
