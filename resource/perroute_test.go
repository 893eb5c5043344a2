package resource

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"wasmxds/definition"
)

// TestTreated checks that a route configuration treats exactly the slots that
// it mentions as the routes treat their filters.
func TestTreated(t *testing.T) {
	o := Options{}.withDefaults()
	to := []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}
	l, err := o.listener(&definition.Listener{Name: "web", Address: "127.0.0.1:80", Routes: []definition.Route{
		{Prefix: "/off", Upstreams: to, Filters: []definition.RouteFilter{{Filter: "a"}}},
		{Prefix: "/other", Upstreams: to, Filters: []definition.RouteFilter{{Filter: "a", Variant: "a@x"}, {Filter: "b", Variant: "b@x"}}},
		{Name: "named", Prefix: "/named", Upstreams: to},
	}})
	if err != nil {
		t.Fatal(err)
	}
	named := func(name, of string, routes ...string) *filter {
		return &filter{Filter: &Filter{Name: name, ID: nameID(name)}, variantOf: of, slotEntry: definition.Slot(name, false),
			attach: definition.Attach{Listeners: []definition.ListenerMatch{{Routes: routes}}}}
	}
	out := l.holds([]*filter{named("a", ""), named("a@x", "a"), named("b", ""), named("only", "", "named")}, Spares{}, false)
	if got := len(out.Filters); got != 4 || out.Filters[1] != "a@x" {
		t.Fatalf("filters %q", out.Filters)
	}
	layout := out.In(out.Version)
	r := out.RouteConfig(layout.Routes, out.mentions())
	m := new(routev3.RouteConfiguration)
	if err := proto.Unmarshal(r.Value, m); err != nil {
		t.Fatal(err)
	}
	says := func(configs map[string]*anypb.Any, slot string) string {
		c := new(routev3.FilterConfig)
		switch a := configs[slot]; {
		case a == nil:
			return "-"
		case a.UnmarshalTo(c) != nil:
			return "?"
		case c.Disabled:
			return "off"
		case c.Config != nil:
			return "on"
		}
		return "refused"
	}
	routes := m.VirtualHosts[0].Routes
	if len(routes) != 4 || routes[3].GetDirectResponse().GetStatus() != 404 {
		t.Fatalf("want a last route that answers 404: %v", routes)
	}
	for i, want := range []struct{ filter, all, off, other, named string }{
		{"a", "-", "off", "off", "-"},
		{"a@x", "off", "-", "on", "-"},
		{"b", "-", "-", "-", "-"}, // its variant is missing, so it runs itself
		{"only", "off", "-", "-", "on"},
	} {
		slot := layout.Chains[0][i].Name
		got := []string{says(m.TypedPerFilterConfig, slot), says(routes[0].TypedPerFilterConfig, slot), says(routes[1].TypedPerFilterConfig, slot), says(routes[2].TypedPerFilterConfig, slot)}
		if got[0] != want.all || got[1] != want.off || got[2] != want.other || got[3] != want.named {
			t.Errorf("filter %s: %q, want %+v", want.filter, got, want)
		}
	}
	base, mentions := CutMentions(r.Version)
	if base != out.RoutesBase || mentions.String() != out.mentions().String() || len(mentions) != 3 {
		t.Errorf("version %q has %v", r.Version, mentions)
	}
}

// TestShut checks that an Envoy's routes get more slots that are shut, and are
// otherwise unchanged.
func TestShut(t *testing.T) {
	before := spared(t, having("web", "a"), Spares{}, "web")
	have := before.RouteConfig(before.RoutesName, nil)
	m := before.Shut(&Resource{TypeURL: RouteType, Name: have.Name, Version: "0123456789abcdef", Value: have.Value}, Mentions{{3, "aaaaaaaa"}})
	if m.Version != "0123456789abcdef+3:aaaaaaaa" {
		t.Errorf("version %q", m.Version)
	}
	got, want := new(routev3.RouteConfiguration), new(routev3.RouteConfiguration)
	if proto.Unmarshal(m.Value, got) != nil || proto.Unmarshal(have.Value, want) != nil {
		t.Fatal("can't be read")
	}
	if len(got.TypedPerFilterConfig) != 1 {
		t.Errorf("it shuts %v", got.TypedPerFilterConfig)
	}
	got.TypedPerFilterConfig = nil
	if !proto.Equal(got, want) {
		t.Errorf("the rest is another: %v, want %v", got, want)
	}
}

func FuzzCutMentions(f *testing.F) {
	f.Add("0123456789abcdef+3:aaaaaaaa-5:bbbbbbbb")
	f.Add("+-:")
	f.Fuzz(func(t *testing.T, version string) {
		base, m := CutMentions(version)
		again, same := CutMentions(base + m.String())
		if again != base || same.String() != m.String() {
			t.Errorf("%q: %q %v, and then %q %v", version, base, m, again, same)
		}
	})
}
