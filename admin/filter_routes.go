package admin

import (
	"cmp"
	"slices"

	"wasmxds/definition"
)

// FilterRoute is a route of a listener that a filter is another on, or none.
type FilterRoute struct {
	Listener string `json:"listener"`
	Route    string `json:"route"` // its name, or its prefix
	// Has is "off", the name of the variant that runs there, or, where the filter is for
	// some routes alone, "on".
	Has string `json:"has"`
}

// filterRoutes finds those of a filter in listeners.
func filterRoutes(f *definition.Filter, listeners []*definition.Listener) []FilterRoute {
	var all []FilterRoute
	for _, l := range listeners {
		for _, r := range l.Routes {
			if has := hasOf(f, l, r); has != "" {
				all = append(all, FilterRoute{l.Name, cmp.Or(r.Name, r.Prefix), has})
			}
		}
	}
	return all
}

func hasOf(f *definition.Filter, l *definition.Listener, r definition.Route) string {
	for _, of := range r.Filters {
		switch {
		case f.VariantOf != "" && of.Variant == f.Name:
			return "on"
		case of.Filter == f.Name:
			return cmp.Or(of.Variant, "off")
		}
	}
	for _, m := range f.Attach.Listeners {
		if r.Name != "" && slices.Contains(m.Routes, r.Name) && m.Matches(l.Target()) {
			return "on"
		}
	}
	return ""
}
