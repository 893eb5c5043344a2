package resource

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

const (
	shaA = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	shaB = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
)

var opts = Options{ModulesURL: "http://127.0.0.1:18001"}

// wasm returns a filter for every listener of every node.
func wasm(name, sha, config string) *module.Filter {
	value, err := anypb.New(wrapperspb.String(config))
	if err != nil {
		panic(err)
	}
	d := &definition.Filter{
		Name:      name,
		Pos:       definition.Position{File: name + ".yaml", Line: 1},
		Module:    definition.Module{URL: "file:///" + name + ".wasm", Fetch: definition.Mirror},
		Config:    value,
		Attach:    definition.Attach{Listeners: []definition.ListenerMatch{{}}},
		OnFailure: definition.Closed,
	}
	return &module.Filter{Definition: d, Wanted: d, Module: module.Info{SHA256: sha}, State: module.Good}
}

func web(name, address string) *definition.Listener {
	return &definition.Listener{
		Name:    name,
		Pos:     definition.Position{File: name + ".yaml", Line: 1},
		Address: address,
		Routes:  []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:9000", Weight: 1}}}},
	}
}

func mustCompile(t *testing.T, prev *Catalog, set *module.Set) *Catalog {
	t.Helper()
	c, problems := Compile(prev, Sets{Base: set}, opts)
	for _, p := range problems.Base {
		t.Errorf("problem: %v", p)
	}
	return c
}

func TestProblems(t *testing.T) {
	good := wasm("good", shaA, "x")
	edited := func(edit func(*definition.Filter)) *module.Set {
		f := wasm("bad", shaA, "x")
		edit(f.Definition)
		return &module.Set{Filters: []*module.Filter{f, good}}
	}
	listening := func(edit func(*definition.Listener)) *module.Set {
		l := web("bad", "127.0.0.1:8080")
		edit(l)
		return &module.Set{Filters: []*module.Filter{good}, Listeners: []*definition.Listener{l}}
	}
	direct := func(url, sha string) *module.Set {
		return edited(func(d *definition.Filter) {
			d.Module = definition.Module{URL: url, SHA256: sha, Fetch: definition.Direct}
		})
	}
	raw := func(typeURL string, m interface {
		proto.Message
		GetName() string
	}) *module.Set {
		return &module.Set{Filters: []*module.Filter{good}, Resources: []*definition.Resource{
			{TypeURL: typeURL, Name: m.GetName(), Pos: definition.Position{File: "bad.yaml", Line: 1}, Message: m},
		}}
	}
	for _, test := range []struct {
		name string
		set  *module.Set
		want string
	}{
		{"a twin's name", edited(func(d *definition.Filter) { d.Name = "primer/x" }), `names that begin with "primer/" are taken`},
		{"direct from a registry", direct("oci://example.com/a:v1", shaA), "oci:// with fetch: direct"},
		{"direct from nowhere", direct("https:///a.wasm", shaA), `":443" has no host`},
		{"conflicting environment", edited(func(d *definition.Filter) { d.HostEnv = []string{"\xff"} }), "invalid UTF-8"},
		{"the primer's name", listening(func(l *definition.Listener) { l.Name = "primer" }), `the name "primer" is taken`},
		{"a host to listen on", listening(func(l *definition.Listener) { l.Address = "localhost:80" }), "is not an IP address and a port"},
		{"no upstream", listening(func(l *definition.Listener) { l.Routes[0].Upstreams = nil }), "routes[0].upstream: none"},
		{"upstream without a port", listening(func(l *definition.Listener) { l.Routes[0].Upstreams[0].Address = "a" }), `routes[0].upstream: "a" is not host:port`},
		{"timeout", listening(func(l *definition.Listener) { l.Routes[0].Timeout = "soon" }), `routes[0].timeout: "soon"`},
		{"a standby's name", edited(func(d *definition.Filter) { d.Name = "standby:auth" }), `names that begin with "standby:" are taken`},
		{"a slot's name", edited(func(d *definition.Filter) { d.Name = "slot/web/0" }), `names that begin with "slot/" are taken`},
		{"routes of a listener", raw(RouteType, &routev3.RouteConfiguration{Name: "routes/web"}), `names that begin with "routes/" are taken`},
		{"a slot like one of ours", raw(ListenerType, withSlot("slot/web/0123abcd/0")), `HTTP filter "slot/web/0123abcd/0": names that begin with "slot/" are taken`},
		{"a slot like a twin", raw(ListenerType, withSlot("primer/good")), `HTTP filter "primer/good": names that begin with "primer/" are taken`},
		{"not a listener", &module.Set{Filters: []*module.Filter{good}, Resources: []*definition.Resource{
			{TypeURL: ListenerType, Name: "bad", Pos: definition.Position{File: "bad.yaml", Line: 1}, Message: wrapperspb.String("")},
		}}, "is not a listener"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, problems := Compile(nil, Sets{Base: test.set}, opts)
			if len(problems.Base) != 1 || !strings.Contains(problems.Base[0].Error(), test.want) || !strings.HasPrefix(problems.Base[0].Error(), "bad.yaml:1: ") {
				t.Errorf("problems: %v, want one at bad.yaml:1 with %q", problems, test.want)
			}
			for _, f := range c.Snapshot(definition.Node{}, "").Filters {
				if (f.Missing == "") != (f.Name == "good") {
					t.Errorf("filter %s is missing: %q", f.Name, f.Missing)
				}
			}
			if _, again := Compile(c, Sets{Base: test.set}, opts); len(again.Base) != 1 {
				t.Errorf("forgotten the next time: %v", again)
			}
		})
	}
}

func TestModulesURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                    "is not an http:// or https:// URL",
		"ftp://example.com":   "is not an http:// or https:// URL",
		"http://:80":          "has no host",
		"http://example.com:": "",
		"https://[::1]/":      "",
	} {
		_, problems := Compile(nil, Sets{Base: new(module.Set)}, Options{ModulesURL: url})
		if want == "" && len(problems.Base) > 0 || want != "" && (len(problems.Base) != 1 || !strings.Contains(problems.Base[0].Message, want)) {
			t.Errorf("%q: %v, want %q", url, problems, want)
		}
	}
}

// TestAttempts checks that each attempt has different bytes, but the same
// version apart from the attempt, for a slot and its twin.
func TestAttempts(t *testing.T) {
	c, _ := Compile(nil, Sets{Base: &module.Set{Filters: []*module.Filter{wasm("hello", shaA, "x")}}}, opts)
	f := c.Snapshot(definition.Node{}, "").Filters[0]
	seen := make(map[string]int)
	for attempt := range 200 {
		slot, twin := f.Slot(attempt), f.Twin(attempt)
		if last, ok := seen[string(slot.Value)]; ok {
			t.Fatalf("attempts %d and %d have the same bytes", last, attempt)
		}
		seen[string(slot.Value)] = attempt
		if slot.Name != "hello" || twin.Name != "primer/hello" || slot.Version != twin.Version || f.Slot(attempt) != slot {
			t.Errorf("attempt %d: %q %q, %q %q", attempt, slot.Name, slot.Version, twin.Name, twin.Version)
		}
		if base, _, _ := strings.Cut(slot.Version, "."); base != f.Version {
			t.Errorf("attempt %d: version %q of %q", attempt, slot.Version, f.Version)
		}
	}
}

func TestLargeModule(t *testing.T) {
	f := wasm("large", shaA, "x")
	f.Module.Size = 33 << 20
	c, problems := Compile(nil, Sets{Base: &module.Set{Filters: []*module.Filter{f}}}, opts)
	if len(problems.Base) != 1 || !problems.Base[0].Warning || problems.Base[0].Hint == "" {
		t.Errorf("problems: %+v, want one warning with a hint", problems)
	}
	if s := c.Snapshot(definition.Node{}, ""); len(s.Filters) != 1 {
		t.Error("a warning took the filter away")
	}
}

// withSlot returns a raw listener with a slot of that name.
func withSlot(name string) *listenerv3.Listener {
	hcm := connectionManager("bad")
	hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: new(routev3.RouteConfiguration)}
	hcm.HttpFilters = append([]*hcmv3.HttpFilter{definition.Slot(name, false)}, hcm.HttpFilters...)
	config, err := packed(hcm)
	if err != nil {
		panic(err)
	}
	return &listenerv3.Listener{Name: "bad", Address: socketAddress("127.0.0.1", 8080), FilterChains: []*listenerv3.FilterChain{{
		Filters: []*listenerv3.Filter{{Name: managerName, ConfigType: config}},
	}}}
}
