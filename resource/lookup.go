package resource

import (
	"iter"
	"maps"
	"slices"
)

// Filter returns the Wasm or Lua filter of that name, whichever nodes it is
// for: as it is in the base or, if the base has none, in some choice. It
// returns nil if there is none, or if it could not be compiled.
func (c *Catalog) Filter(name string) *Filter {
	for _, f := range c.Filters(name) {
		return f
	}
	return nil
}

// Filters returns the Wasm or Lua filters of that name: the base's, if it has
// one, followed by those of the choices, which may be the same.
func (c *Catalog) Filters(name string) iter.Seq2[Choice, *Filter] {
	return func(yield func(Choice, *Filter) bool) {
		if f := c.base.filter(name); f != nil && !yield("", f) {
			return
		}
		for _, choice := range slices.Sorted(maps.Keys(c.choices)) {
			if f := c.choices[choice].filter(name); f != nil && !yield(choice, f) {
				return
			}
		}
	}
}

func (v *view) filter(name string) *Filter {
	if e := v.byKey[key{ExtensionType, name}]; e != nil {
		if f, ok := e.part.(*filter); ok {
			return f.Filter
		}
	}
	return nil
}
