package resource

import (
	"maps"
	"slices"
)

// Filter is the Wasm filter of that name, whichever nodes it is for: as it is in
// the base, or, where that has none, in some choice. Nil where there is none, or
// where it could not be compiled.
func (c *Catalog) Filter(name string) *Filter {
	if f := c.base.filter(name); f != nil {
		return f
	}
	for _, choice := range slices.Sorted(maps.Keys(c.choices)) {
		if f := c.choices[choice].filter(name); f != nil {
			return f
		}
	}
	return nil
}

func (v *view) filter(name string) *Filter {
	if e := v.byKey[key{ExtensionType, name}]; e != nil {
		if f, ok := e.part.(*filter); ok {
			return f.Filter
		}
	}
	return nil
}
