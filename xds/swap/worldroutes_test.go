package swap_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// onlyHere is what is written of a filter that runs for one route alone.
const onlyHere = "only"

// perRoute takes up what is written of a filter and a route.
func (w *world) perRoute(l *definition.Listener, at, of string) {
	filter, what, _ := strings.Cut(of, "=")
	i := slices.IndexFunc(l.Routes, func(r definition.Route) bool { return r.Name == at })
	if i < 0 {
		i = len(l.Routes) - 1
		l.Routes = slices.Insert(l.Routes, i, definition.Route{Name: at, Prefix: "/" + at, Upstreams: l.Routes[i].Upstreams})
	}
	f := definition.RouteFilter{Filter: filter}
	switch what {
	case "off":
	case onlyHere:
		f.Variant = onlyHere // taken out again by onlyFor
	default:
		f.Config, f.Variant = text(what), filter+"@"+what
	}
	l.Routes[i].Filters = append(l.Routes[i].Filters, f)
}

// onlyFor are the routes that a filter is attached to; none: all.
func onlyFor(set *module.Set, filter string) []string {
	var routes []string
	for _, l := range set.Listeners {
		for i, r := range l.Routes {
			l.Routes[i].Filters = slices.DeleteFunc(r.Filters, func(f definition.RouteFilter) bool {
				is := f.Filter == filter && f.Variant == onlyHere
				if is {
					routes = append(routes, r.Name)
				}
				return is
			})
		}
	}
	return routes
}

// variants are the filters that routes have with other configurations.
func (w *world) variants(set *module.Set, names map[string]string) []*module.Filter {
	var all []*module.Filter
	for _, l := range set.Listeners {
		for _, r := range l.Routes {
			for _, of := range r.Filters {
				i := slices.IndexFunc(set.Filters, func(f *module.Filter) bool { return f.Definition.Name == of.Filter })
				if of.Variant == "" || of.Variant == onlyHere || names[of.Variant] != "" || i < 0 {
					continue
				}
				base := set.Filters[i]
				d := *base.Definition
				d.Name, d.VariantOf, d.Config = of.Variant, of.Filter, of.Config
				f := *base
				f.Definition, f.Wanted = &d, &d
				_, label, _ := strings.Cut(of.Variant, "@")
				names[of.Variant] = names[of.Filter] + "@" + label
				if strings.HasPrefix(label, "bad") && f.Ready() {
					mod := "bad-" + of.Variant
					sum := sha256.Sum256([]byte(mod))
					f.Module.SHA256 = hex.EncodeToString(sum[:])
					w.modules[f.Module.SHA256] = mod
				}
				all = append(all, &f)
			}
		}
	}
	return all
}

// said is what the routes of a listener say of its filters.
type said struct {
	routes []string                   // names; "": of all other paths
	off    map[string]map[string]bool // filter → routes that it does not run for, "none" for a request without one
}

// saidBy is what is written, apart from how it is compiled.
func saidBy(l *resource.Listener, set *module.Set) said {
	s := said{off: map[string]map[string]bool{}}
	i := slices.IndexFunc(set.Listeners, func(d *definition.Listener) bool { return d.Name == l.Name })
	if i < 0 {
		return s
	}
	for _, r := range set.Listeners[i].Routes {
		s.routes = append(s.routes, r.Name)
	}
	for _, f := range set.Filters {
		d := f.Definition
		if !slices.Contains(l.Filters, d.Name) {
			continue
		}
		off := map[string]bool{}
		only := d.Attach.Listeners[0].Routes
		if d.VariantOf != "" || len(only) > 0 {
			off["none"] = true
		}
		for _, r := range set.Listeners[i].Routes {
			switch {
			case d.VariantOf != "":
				off[r.Name] = !slices.ContainsFunc(r.Filters, func(of definition.RouteFilter) bool { return of.Variant == d.Name })
			default:
				off[r.Name] = slices.ContainsFunc(r.Filters, func(of definition.RouteFilter) bool { return of.Filter == d.Name }) ||
					len(only) > 0 && !slices.Contains(only, r.Name)
			}
		}
		s.off[d.Name] = off
	}
	return s
}

// modelRoutes is a route configuration as Envoy has it.
type modelRoutes struct {
	version string
	m       *routev3.RouteConfiguration
}

func decodeRoutes(r *resource.Resource) modelRoutes {
	out := modelRoutes{r.Version, new(routev3.RouteConfiguration)}
	must(proto.Unmarshal(r.Value, out.m))
	return out
}

// runs tells whether a slot runs for a request of a path, as Envoy finds it out.
func (r modelRoutes) runs(slot, path string) bool {
	says := func(configs map[string]*anypb.Any) (runs, said bool) {
		a := configs[slot]
		if a == nil {
			return false, false
		}
		var c routev3.FilterConfig
		must(a.UnmarshalTo(&c))
		if !c.Disabled && c.Config == nil {
			panic("Envoy refuses it: Empty route/virtual host per filter configuration for " + slot)
		}
		return !c.Disabled, true
	}
	for _, host := range r.m.VirtualHosts {
		for _, route := range host.Routes {
			if !strings.HasPrefix(path, route.Match.GetPrefix()) {
				continue
			}
			for _, configs := range []map[string]*anypb.Any{route.TypedPerFilterConfig, host.TypedPerFilterConfig, r.m.TypedPerFilterConfig} {
				if runs, said := says(configs); said {
					return runs
				}
			}
			return true
		}
	}
	return true // there is no route: nothing is said
}

// misrun tells what is wrong with the filters that a request meets by its route: it is
// asked of each listener at each moment. wanted are the filters that are wanted now; ran
// tells of one that does not run for a route that it is on for whether it may not yet.
func (s said) misrun(routes modelRoutes, slots []string, filterIn func(slot string) string, wanted []string, ran func(route, filter string, runs bool) bool) string {
	for _, name := range s.routes {
		runs, there := map[string]bool{}, map[string]bool{}
		for _, slot := range slots {
			if f := filterIn(slot); f != "" {
				there[f] = true
				runs[f] = runs[f] || routes.runs(slot, "/"+name)
			}
		}
		for f := range there {
			must := ran(name, f, runs[f])
			off, known := s.off[f]
			switch variant := strings.Contains(f, "@"); {
			case known && off[name] && runs[f]:
				return fmt.Sprintf("filter %s runs for route %q, where it is off", f, name)
			case known && !off[name] && !runs[f] && must && slices.Contains(wanted, f):
				return fmt.Sprintf("filter %s does not run for route %q", f, name)
			case !known && variant && runs[f]:
				return fmt.Sprintf("variant %s runs for route %q, which says nothing of it", f, name)
			case !known && !variant && !runs[f] && must && slices.Contains(wanted, f):
				return fmt.Sprintf("filter %s does not run for route %q, which says nothing of it", f, name)
			}
		}
	}
	return ""
}

// changeRoutes changes what routes say of filters.
func (p *play) changeRoutes() {
	at := []string{"some", "more"}[p.rng.IntN(2)]
	if p.perRoutes == nil {
		p.perRoutes = map[string]string{}
	}
	if len(p.filters) == 0 || p.rng.IntN(3) == 0 {
		for key := range p.perRoutes {
			if strings.HasPrefix(key, at) {
				delete(p.perRoutes, key)
			}
		}
		return
	}
	f := p.filters[p.rng.IntN(len(p.filters))]
	p.perRoutes[at+":"+f] = []string{"off", "a", "b", "bad", "off", onlyHere}[p.rng.IntN(6)]
}

// perRouteWords are what is written of filters that there are.
func (w *wants) perRouteWords() string {
	var words []string
	for key, what := range w.perRoutes {
		_, filter, _ := strings.Cut(key, ":")
		if !slices.Contains(w.filters, filter) || !slices.Contains([]string{"auth", "hello", "open", "same", "zip", "lua", "openlua", "both"}, filter) { // HTTP filters all the time
			continue
		}
		if w.lua(filter) != "" && what != onlyHere {
			what = "off" // a script has no configuration
		}
		words = append(words, " "+key+"="+what)
	}
	slices.Sort(words)
	return strings.Join(words, "")
}

// variantsMended has no route have a configuration that is refused.
func (p *play) variantsMended() {
	for key, what := range p.perRoutes {
		if strings.HasPrefix(what, "bad") {
			p.perRoutes[key] = "c"
		}
	}
}

// perRouteOf has a model look at what requests meet by their routes.
func (p *play) perRouteOf(e *model) {
	before := map[string]bool{}
	e.meetsBy = func(listener string, slots []string, routes modelRoutes) {
		base, _ := resource.CutMentions(routes.version)
		s, known := p.said[base]
		i := slices.IndexFunc(p.snap.Listeners, func(l *resource.Listener) bool { return l.Name == listener })
		if !known || i < 0 {
			return
		}
		// It may come in shut, where the routes that come next are those that it is for.
		ran := func(route, filter string, runs bool) bool {
			key := fmt.Sprintf("%q%q%q%q", routes.m.Name, base, route, filter)
			before[key] = before[key] || runs
			return before[key]
		}
		if err := s.misrun(routes, slots, func(slot string) string { return e.slots[slot].filter }, p.snap.Listeners[i].Filters, ran); err != "" {
			e.breaks("listener %s: %s", listener, err)
		}
	}
}
