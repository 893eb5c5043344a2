package admin

import (
	"cmp"
	"slices"

	"wasmxds/definition"
)

// FilterRoute is a route of a listener on which a filter differs, or does not
// run.
type FilterRoute struct {
	Listener string `json:"listener"`
	Route    string `json:"route"` // name or, without one, prefix
	// Has is "off", the name of the variant that runs there or, if the filter
	// is attached to some routes only, "on".
	Has string `json:"has"`
}

// filterRoutes returns the routes of listeners on which a filter differs, or
// which it is attached to by name.
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

// routeView is a FilterRoute on a filter's page.
type routeView struct {
	FilterRoute
	Variant string // variant that runs there; "": none
	On      bool   // the filter or its variant runs there
	Running int    // number of Envoys that run the wanted version
	Nodes   int    // number of Envoys that should
}

// viewRoutes returns the routes of a filter. Variants are looked up in all.
func viewRoutes(f *Filter, all []Filter) []routeView {
	var views []routeView
	for _, r := range f.Routes {
		v, runs := routeView{FilterRoute: r, On: r.Has != "off"}, f
		if v.On && r.Has != "on" {
			v.Variant = r.Has
			i := slices.IndexFunc(all, func(f Filter) bool { return f.Name == r.Has })
			if i < 0 {
				runs = &Filter{} // it is part of a change in progress
			} else {
				runs = &all[i]
			}
		}
		if v.On {
			v.Running, v.Nodes = runs.Running, runs.Nodes
		}
		views = append(views, v)
	}
	return views
}
