package definition

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"weak"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	vmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition/internal/document"
)

// RouteFilter overrides a filter for a route: the filter is off there, or has
// another configuration.
type RouteFilter struct {
	Filter string
	Config *anypb.Any // nil: it is off
	// Variant is the name of the filter that runs instead; "": none.
	Variant string
}

// routeFilter is another configuration for a filter. To turn the filter off,
// the word off is written in its place.
type routeFilter struct {
	Config *document.Node `json:"config" jsonschema:"required" jsonschema_description:"Plugin configuration in place of the filter's own, written as there."`
}

// routeFilters reads a route's overrides of filters.
func (d *Doc) routeFilters(path string, written map[string]*document.Node) []RouteFilter {
	var all []RouteFilter
	for _, name := range slices.Sorted(maps.Keys(written)) {
		at := document.Join(path, name)
		made := RouteFilter{Filter: d.scope.listener(name)}
		if namespace, _, other := strings.Cut(name, "/"); other && d.scope.limited() && namespace != d.scope.Namespace {
			d.Problem(at, "have it attached elsewhere by who owns it", "is a filter of another namespace, which this one can't change")
		}
		switch n := written[name]; {
		case isOff(n):
		case n.Kind == document.Object && n.Get("config") != nil:
			var w routeFilter
			d.report(n.Decode(&w, at))
			made.Config = d.config(at+".config", w.Config)
			made.Variant = variantName(made.Filter, made.Config)
		case n.Kind == document.Object && len(n.Fields) > 0:
			d.Problem(at, "write off, or config: with the configuration below it", "needs config")
		default:
			d.Problem(at, "off, or config: with another configuration", "%s is neither off nor a configuration", shown(n))
		}
		all = append(all, made)
	}
	return all
}

// isOff reports whether n is off, which kubectl converts to false.
func isOff(n *document.Node) bool {
	return n.Kind == document.Text && n.Text == "off" || n.Kind == document.Bool && n.Text == "false"
}

// variantName returns the name of a filter with another configuration. It
// depends only on the filter's name and the configuration.
func variantName(filter string, config *anypb.Any) string {
	sum := sha256.Sum256(append([]byte(config.GetTypeUrl()+"\x00"), config.GetValue()...))
	id := "@" + hex.EncodeToString(sum[:6])
	return filter[:min(len(filter), maxName-len(id))] + id
}

const maxName = 253

// routeName checks the name of a route, which must be unique in its listener.
func (d *Doc) routeName(at string, r route, before []Route) {
	if r.Name == "" {
		return
	}
	d.name(at+".name", r.Name)
	if i := slices.IndexFunc(before, func(o Route) bool { return o.Name == r.Name }); i >= 0 {
		d.Problem(at+".name", "", "%q is the name of routes[%d], too", r.Name, i)
	}
}

// routeNames checks the names of routes that a filter is attached to.
func (d *Doc) routeNames(path string, names []string) {
	if names != nil && len(names) == 0 {
		d.Problem(path, "leave it out for every route", "is empty")
	}
	for i, name := range names {
		if at := document.Index(path, i); name == "" {
			d.Problem(at, "", "is empty")
		} else {
			d.name(at, name)
		}
	}
}

// maxVariants is the maximum number of configurations in all routes of a
// listener. Each needs a VM in each thread of an Envoy.
const maxVariants = 64

// countVariants reports the first configuration beyond maxVariants.
func (d *Doc) countVariants(routes []Route) {
	seen := map[string]bool{}
	for i, r := range routes {
		for _, of := range r.Filters {
			if of.Variant == "" || seen[of.Variant] {
				continue
			}
			if seen[of.Variant] = true; len(seen) > maxVariants {
				d.Problem(document.Join(document.Index("routes", i)+".filters", of.Filter)+".config", "have routes share configurations, or a filter read what differs from the request",
					"is one configuration more than the routes of a listener may have, which is %d: each is a VM of its own", maxVariants)
				return
			}
		}
	}
}

// convertRouteFilters is the inverse of routeFilters.
func convertRouteFilters(filters []RouteFilter) (map[string]*document.Node, error) {
	if len(filters) == 0 {
		return nil, nil
	}
	written := map[string]*document.Node{}
	for _, f := range filters {
		if f.Config == nil {
			written[f.Filter] = textNode("off")
			continue
		}
		config, err := convertConfig(f.Config)
		if err != nil {
			return nil, fmt.Errorf("filters.%s.config: %w", f.Filter, err)
		}
		written[f.Filter] = &document.Node{Kind: document.Object, Fields: []document.Field{{Key: "config", Value: config}}}
	}
	return written, nil
}

// misrouted reports routes that override filters that do not exist, or that are
// not in the route's listener.
func misrouted(files []*File) []Problem {
	var filters map[string]*Filter // nil: no route has asked for them yet
	var names []string
	var problems []Problem
	for _, f := range files {
		for _, l := range f.Listeners {
			for i, r := range l.Routes {
				for _, of := range r.Filters {
					if filters == nil {
						filters, names = filtersOf(files)
					}
					if message, hint := misroute(of, l, filters, names); message != "" {
						at := document.Join(document.Index("routes", i)+".filters", of.Filter)
						problems = append(problems, f.problem(l, at, message, hint))
					}
				}
			}
		}
	}
	return problems
}

// misroute returns what is wrong with a route's override of a filter, or "".
func misroute(of RouteFilter, l *Listener, filters map[string]*Filter, names []string) (message, hint string) {
	switch filter := filters[of.Filter]; {
	case filter == nil:
		return fmt.Sprintf("there is no filter %q", of.Filter), document.Suggest(of.Filter, names)
	case !filter.Attach.Matches(l.Target()) || disjoint(filter.Attach.Nodes, l.Nodes):
		return fmt.Sprintf("filter %q is not attached to listener %q", of.Filter, l.Name), "attach it to the listener, or leave this out"
	case filter.Place.Network, filter.Logs(), filter.Serves():
		return fmt.Sprintf("filter %q is no HTTP filter, and others know no routes", of.Filter), "leave it out"
	case of.Variant != "" && filter.Lua != nil:
		return fmt.Sprintf("filter %q is a script, which has no configuration", of.Filter), "write off, or have another LuaFilter attached to the route"
	case of.Variant != "" && filters[of.Variant] != nil:
		return fmt.Sprintf("with another configuration it would be called %q, as a filter is already", of.Variant), "rename that filter"
	}
	return "", ""
}

// Detached returns a copy of a file whose filters name no listeners, and whose
// routes override only filters that are in it or in files, and in the listener.
func Detached(f *File, files []*File) *File {
	d := &File{Name: f.Name, Resources: f.Resources, Rollouts: f.Rollouts, Tests: f.Tests, origins: maps.Clone(f.origins), variants: f.variants}
	filters, names := filtersOf(append(slices.Clip(files), f))
	for _, filter := range f.Filters {
		loose := *filter
		loose.Attach = Attach{Nodes: filter.Attach.Nodes}
		d.Filters = append(d.Filters, &loose)
		d.origins[&loose] = f.origins[filter]
		filters[filter.Name] = &loose
	}
	for _, l := range f.Listeners {
		less := *l
		less.Routes = slices.Clone(l.Routes)
		for j, r := range less.Routes {
			less.Routes[j].Filters = slices.DeleteFunc(slices.Clone(r.Filters), func(of RouteFilter) bool {
				message, _ := misroute(of, l, filters, names)
				return message != ""
			})
		}
		d.Listeners = append(d.Listeners, &less)
		d.origins[&less] = f.origins[l]
	}
	return d
}

// filtersOf returns the filters of files by name, and their sorted names.
func filtersOf(files []*File) (map[string]*Filter, []string) {
	filters := map[string]*Filter{}
	for _, f := range files {
		for _, filter := range f.Filters {
			filters[filter.Name] = filter
		}
	}
	return filters, slices.Sorted(maps.Keys(filters))
}

// unrouted reports filters that are attached to routes of a name that no route
// has.
func (f *File) unrouted(filter *Filter, routes []string) []Problem {
	var problems []Problem
	match := f.origins[filter].root.Get("attach").Get("match") != nil
	for i, m := range filter.Attach.Listeners {
		for j, name := range m.Routes {
			if slices.Contains(routes, name) {
				continue
			}
			path := document.Index("attach.routes", j)
			if match {
				path = document.Index(document.Index("attach.match", i)+".routes", j)
			}
			problems = append(problems, f.problem(filter, path, fmt.Sprintf("no route of a Listener has the name %q: the filter runs for none of it", name), document.Suggest(name, routes)))
		}
	}
	return problems
}

// routeNames returns the names of all routes.
func (s *Set) routeNames() []string {
	var names []string
	for _, l := range s.Listeners {
		for _, r := range l.Routes {
			if r.Name != "" {
				names = append(names, r.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// variant is a filter with another configuration, and the first position that
// has it.
type variant struct {
	of        *Filter
	file      *File // of that filter
	name      string
	config    *anypb.Any
	pos       Position
	listeners []string
}

// variants returns the filters that routes run with other configurations, once
// for each configuration.
func variants(files []*File) []*Filter {
	type place struct {
		filter *Filter
		file   *File
	}
	var places map[string]place
	var all []*variant
	byName := map[string]*variant{}
	for _, f := range files {
		for _, l := range f.Listeners {
			for i, r := range l.Routes {
				for _, of := range r.Filters {
					if of.Variant == "" {
						continue
					}
					if places == nil {
						places = map[string]place{}
						for _, f := range files {
							for _, filter := range f.Filters {
								places[filter.Name] = place{filter, f}
							}
						}
					}
					v := byName[of.Variant]
					if v == nil {
						base := places[of.Filter]
						path := document.Join(document.Index("routes", i)+".filters", of.Filter)
						v = &variant{of: base.filter, file: base.file, name: of.Variant, config: of.Config, pos: f.positionOf(l, path)}
						byName[of.Variant] = v
						all = append(all, v)
					}
					if !slices.Contains(v.listeners, l.Name) {
						v.listeners = append(v.listeners, l.Name)
					}
				}
			}
		}
	}
	var made []*Filter
	for _, v := range all {
		slices.Sort(v.listeners)
		made = append(made, v.file.variants.get(v.key(), v.filter))
	}
	return made
}

// positionOf returns the position of a definition's field.
func (f *File) positionOf(definition any, path string) Position {
	p := f.problem(definition, path, "", "")
	return Position{File: p.File, Line: p.Line}
}

// key identifies a variant among those of a file's filters.
func (v *variant) key() string {
	return strconv.Quote(v.of.Name) + strconv.Quote(v.name) + fmt.Sprintf("%q", v.listeners) + v.pos.String()
}

// filter returns the variant as a filter. It differs from the original in its
// configuration, and it is attached only to listeners whose routes use it.
func (v *variant) filter() *Filter {
	f := *v.of
	f.Name, f.VariantOf, f.Config, f.ConfigSecret, f.Pos = v.name, v.of.Name, v.config, nil, v.pos
	f.Attach.Listeners = []ListenerMatch{{Direction: Any, Names: v.listeners}}
	if f.Wasm != nil {
		f.Wasm = withConfig(f.Wasm, v.config)
	}
	return &f
}

// madeFilters caches filters that were made from others, so that those that did
// not change keep their pointers. Entries live as long as somebody else
// references them. It is safe for concurrent use.
type madeFilters struct {
	mu sync.Mutex
	m  map[string]weak.Pointer[Filter]
}

func (v *madeFilters) get(key string, of func() *Filter) *Filter {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f := v.m[key].Value(); f != nil {
		return f
	}
	maps.DeleteFunc(v.m, func(_ string, w weak.Pointer[Filter]) bool { return w.Value() == nil })
	if v.m == nil {
		v.m = map[string]weak.Pointer[Filter]{}
	}
	f := of()
	v.m[key] = weak.Make(f)
	return f
}

// withConfig returns a copy of a plugin with another configuration.
func withConfig(of *wasmv3.Wasm, config *anypb.Any) *wasmv3.Wasm {
	with := proto.CloneOf(of)
	if with.Config == nil {
		with.Config = new(vmv3.PluginConfig)
	}
	with.Config.Configuration = config
	return with
}
