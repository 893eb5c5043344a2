package swap_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// world is what is wanted, in a few words a line:
//
//	filter NAME VERSION [module=M | lua | badlua] [open] [missing] [network] [log]
//	static NAME VERSION
//	routes NAME VERSION
//	listener NAME [tcp] [port=P] [timeout=T] [rds=NAME] [FILTER...] [static=NAME...] [ROUTE:FILTER=off|only|LABEL...]
//	base
//
// What comes before "base" is so by a change that is open, what comes behind it
// without.
//
// A listener's filters are in the order in which it has them; its timeout is
// one of its route. ROUTE is some or more: it has another route of that name, where a
// filter is off, or where only it runs, or where a variant of it runs, which is called
// FILTER@LABEL; one whose label begins with bad is refused. A filter with "log" is an access logger. A filter's module is named by its name and version where none is given. A
// static is another extension's configuration, and routes are a route configuration, as
// they are written; a listener that has slots for some, or refers to routes, is a raw one.
type world struct {
	catalog *resource.Catalog
	choice  resource.Choice   // of the Envoy
	labels  map[string]string // resource version → what the script calls it
	named   map[string]string // filter and label → version
	modules map[string]string // sha256 → the module's name
	port    string            // of the module server; "": 18001
	spares  resource.Spares
	byID    map[string]string // id → name
	said    map[string]said   // version of routes, without mentions → what they say
	ids     []string          // of listeners with their layouts, in the order in which they were seen
}

// definitions reads the words and compiles them, after what was there before.
func (w *world) define(t testing.TB, text string) *resource.Snapshot {
	t.Helper()
	wanted, base, open := strings.Cut(text, "base\n")
	set, names := w.set(t, wanted)
	sets, labels := resource.Sets{Base: set}, map[resource.Choice]map[string]string{"": names}
	w.choice = ""
	if open {
		w.choice = "change"
		sets.Choices, sets.Standby = map[resource.Choice]*module.Set{w.choice: set}, map[resource.Choice]bool{w.choice: true}
		labels[w.choice] = names
		sets.Base, labels[""] = w.set(t, base)
	}
	var problems resource.Problems
	w.catalog, problems = resource.Compile(w.catalog, sets, resource.Options{ModulesURL: "http://127.0.0.1:" + cmp.Or(w.port, "18001"), Spares: w.spares})
	for _, p := range slices.Concat(problems.Base, problems.Choices[w.choice]) {
		t.Fatal(p)
	}
	for choice, names := range labels {
		for name, v := range names {
			for in, f := range w.catalog.Filters(name) {
				w.byID[f.ID] = name
				if in == choice && f.Missing == "" {
					w.labels[f.Version] = v
					w.named[name+" "+v] = f.Version
				}
			}
		}
	}
	snap := w.snapshot()
	for _, l := range snap.Listeners {
		w.said[l.RoutesBase] = saidBy(l, set)
		for _, slot := range l.Slots {
			w.shown(slot)
		}
		w.shown(l.RoutesName)
	}
	for _, r := range slices.Concat(snap.Static, snap.Routes) {
		w.labels[r.Version] = names[r.Name]
		w.named[r.Name+" "+names[r.Name]] = r.Version
	}
	return snap
}

// snapshot is what the Envoy is to have.
func (w *world) snapshot() *resource.Snapshot {
	return w.catalog.Snapshot(nodeOf(), w.choice)
}

// set reads definitions, and the words for their versions.
func (w *world) set(t testing.TB, text string) (*module.Set, map[string]string) {
	t.Helper()
	set := &module.Set{}
	in := map[string][]string{} // filter → its listeners
	names := map[string]string{}
	order := map[string]int{} // as the first listener that has them has it
	for line := range strings.Lines(text) {
		word := strings.Fields(line)
		if len(word) == 0 {
			continue
		}
		switch word[0] {
		case "filter":
			f := w.filter(word[1], word[2], word[3:])
			set.Filters = append(set.Filters, f)
			names[word[1]] = word[2]
		case "static":
			set.Resources = append(set.Resources, static(word[1], word[2]))
			names[word[1]] = word[2]
		case "routes":
			set.Resources = append(set.Resources, rawRoutes(word[1], word[2]))
			names[word[1]] = word[2]
		case "listener":
			var statics []string
			rds := ""
			l := &definition.Listener{Name: word[1], Address: "127.0.0.1:0", Direction: definition.Inbound,
				Routes: []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:9000", Weight: 1}}}}}
			for _, f := range word[2:] {
				if at, of, ok := strings.Cut(f, ":"); ok {
					w.perRoute(l, at, of)
				} else if v, ok := strings.CutPrefix(f, "timeout="); ok {
					l.Routes[0].Timeout = v
				} else if v, ok := strings.CutPrefix(f, "port="); ok {
					l.Address = "127.0.0.1:" + v
				} else if f == "tcp" {
					l.TCP = &definition.TCP{Upstreams: l.Routes[0].Upstreams}
				} else if v, ok := strings.CutPrefix(f, "rds="); ok {
					rds = v
				} else if v, ok := strings.CutPrefix(f, "static="); ok {
					statics = append(statics, v)
				} else {
					in[f] = append(in[f], word[1])
					if _, ok := order[f]; !ok {
						order[f] = len(order)
					}
				}
			}
			if len(statics) > 0 || rds != "" {
				set.Resources = append(set.Resources, rawListener(l, statics, rds))
				continue
			}
			set.Listeners = append(set.Listeners, l)
		default:
			t.Fatalf("unknown word %q", word[0])
		}
	}
	set.Filters = append(set.Filters, w.variants(set, names)...)
	for _, f := range set.Filters {
		if f.Definition.VariantOf != "" {
			continue
		}
		f.Definition.Order = order[f.Definition.Name]
		f.Definition.Attach.Listeners = []definition.ListenerMatch{{Names: append(in[f.Definition.Name], "nothing"), Routes: onlyFor(set, f.Definition.Name)}}
	}
	for _, f := range set.Filters {
		if i := slices.IndexFunc(set.Filters, func(o *module.Filter) bool { return o.Definition.Name == f.Definition.VariantOf }); i >= 0 {
			f.Definition.Order, f.Definition.Attach = set.Filters[i].Definition.Order, set.Filters[i].Definition.Attach
			f.Definition.Attach.Listeners[0].Routes = nil
		}
	}
	slices.SortFunc(set.Filters, func(a, b *module.Filter) int { return strings.Compare(a.Definition.Name, b.Definition.Name) })
	slices.SortFunc(set.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	return set, names
}

// static is the configuration of an extension that is not a Wasm filter.
func static(name, version string) *definition.Resource {
	return &definition.Resource{TypeURL: resource.ExtensionType, Name: name,
		Message: &corev3.TypedExtensionConfig{Name: name, TypedConfig: text(name + " " + version)}}
}

// rawRoutes is a route configuration in Envoy's own form.
func rawRoutes(name, version string) *definition.Resource {
	return &definition.Resource{TypeURL: resource.RouteType, Name: name,
		Message: &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{Name: version, Domains: []string{"*"}}}}}
}

// rawListener is l as an Envoy resource, with slots for statics, and with a reference to
// routes; "": it contains its routes.
func rawListener(l *definition.Listener, statics []string, rds string) *definition.Resource {
	_, at, _ := strings.Cut(l.Address, ":")
	port, err := strconv.ParseUint(at, 10, 16)
	must(err)
	router, err := anypb.New(&routerv3.Router{})
	must(err)
	hcm := &hcmv3.HttpConnectionManager{StatPrefix: l.Name + l.Routes[0].Timeout, RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{}}}
	ads := &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
	if rds != "" {
		hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads, RouteConfigName: rds}}
	}
	for _, name := range statics {
		hcm.HttpFilters = append(hcm.HttpFilters, &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{
			ConfigDiscovery: &corev3.ExtensionConfigSource{
				ConfigSource: ads,
				TypeUrls:     []string{text("").TypeUrl},
			}}})
	}
	hcm.HttpFilters = append(hcm.HttpFilters, &hcmv3.HttpFilter{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}})
	manager, err := anypb.New(hcm)
	must(err)
	return &definition.Resource{TypeURL: resource.ListenerType, Name: l.Name, Message: &listenerv3.Listener{
		Name: l.Name,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)}}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager}}}}},
	}}
}

func (w *world) filter(name, version string, more []string) *module.Filter {
	d := &definition.Filter{Name: name, Config: text(version), OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	mod := name + "-" + version
	missing := false
	for _, m := range more {
		switch v, is := strings.CutPrefix(m, "module="); {
		case is:
			mod = v
		case m == "lua":
			d.Lua = &definition.Lua{Script: scriptOf(name, version)}
		case m == "badlua":
			d.Lua = &definition.Lua{Script: scriptOf(name, version) + badScript}
		case m == "open":
			d.OnFailure = definition.Open
		case m == "missing":
			missing = true
		case m == "network":
			d.Place.Network = true
		case m == "log":
			d.Place.At = definition.Logger
		}
	}
	f := &module.Filter{Definition: d, Wanted: d, State: module.Good}
	if missing {
		if d.Lua != nil {
			d.Lua.Script = "" // its file can't be read
		}
		f.State, f.Reason = module.Failed, "its origin answers 404"
		return f
	}
	if d.Lua != nil {
		d.Config, d.Module = nil, definition.Module{}
		return f
	}
	sum := sha256.Sum256([]byte(mod))
	f.Module = module.Info{SHA256: hex.EncodeToString(sum[:]), Size: 1000, ABI: "0.2.1"}
	w.modules[f.Module.SHA256] = mod
	return f
}

// scriptOf is a script that tells of which filter it is.
func scriptOf(filter, version string) string { return "-- " + filter + " " + version + "\n" }

// badScript is in one that Envoy refuses.
const badScript = "end end"

func text(s string) *anypb.Any {
	a, err := anypb.New(wrapperspb.String(s))
	if err != nil {
		panic(err)
	}
	return a
}

func newWorld() world {
	return world{byID: map[string]string{}, said: map[string]said{}, labels: map[string]string{}, named: map[string]string{}, modules: map[string]string{}}
}

// label names a resource's version as the script does.
func (w *world) label(version string) string {
	if _, loggers, ok := strings.Cut(version, "*"); ok { // of a listener
		loggers, _, _ = strings.Cut(loggers, "+")
		shown := ""
		for of := range strings.SplitSeq(loggers, "*") {
			version, _ := resource.CutVersion(of)
			shown += "*" + w.labels[version]
		}
		return shown
	}
	base, attempt, again := strings.Cut(version, ".")
	base, _, _ = strings.Cut(base, "-")
	if base == resource.EmptyVersion {
		return "=nothing"
	}
	l, ok := w.labels[base]
	if !ok {
		return ""
	}
	if again {
		l += fmt.Sprintf(" (attempt %s)", attempt)
	}
	return "=" + l
}

// shown is a resource's name as scripts have it: a listener's own slot is
// LISTENER#NUMBER, its routes routes/LISTENER, with a ' behind the listener for
// each layout of it that was seen before.
func (w *world) shown(name string) string {
	listener, id, slot := resource.SlotOf(name)
	of, its, routes := resource.RoutesOf(name)
	if routes {
		listener, id = of, its
	}
	if !slot && !routes {
		return name
	}
	if !slices.Contains(w.ids, listener+"/"+id) {
		w.ids = append(w.ids, listener+"/"+id)
	}
	primes := ""
	for _, known := range w.ids {
		if known == listener+"/"+id {
			break
		}
		if strings.HasPrefix(known, listener+"/") {
			primes += "'"
		}
	}
	if routes {
		return "routes/" + listener + primes
	}
	return listener + primes + "#" + name[strings.LastIndexByte(name, '/')+1:]
}

// resourceNamed is the opposite of shown.
func (w *world) resourceNamed(text string) string {
	for _, known := range w.ids {
		if listener, number, slot := strings.Cut(text, "#"); slot && w.shown(resource.SlotPrefix+known+"/0") == listener+"#0" {
			return resource.SlotPrefix + known + "/" + number
		}
		if w.shown(resource.RoutesPrefix+known) == text {
			return resource.RoutesPrefix + known
		}
	}
	return text
}
