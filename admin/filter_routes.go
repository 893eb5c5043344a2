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

// routeView is such a route on a filter's page.
type routeView struct {
	FilterRoute
	Variant string // that runs there in place of the filter; "": none
	On      bool   // the filter or its variant runs there
	Running int    // Envoys that run it as it is wanted
	Nodes   int    // that it is for
}

// viewRoutes tells of a filter's routes, among all filters.
func viewRoutes(f *Filter, all []Filter) []routeView {
	var views []routeView
	for _, r := range f.Routes {
		v, runs := routeView{FilterRoute: r, On: r.Has != "off"}, f
		if v.On && r.Has != "on" {
			v.Variant = r.Has
			i := slices.IndexFunc(all, func(f Filter) bool { return f.Name == r.Has })
			if i < 0 {
				runs = &Filter{} // a change that is under way has it
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
