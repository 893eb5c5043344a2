package fleet

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// TestMeets: which slots requests of a route run through is what the route says, else the
// route configuration, else all of them do.
func TestMeets(t *testing.T) {
	says := func(runs map[string]bool) map[string]*anypb.Any {
		all := map[string]*anypb.Any{}
		for slot, on := range runs {
			config, err := anypb.New(&routev3.FilterConfig{Disabled: !on})
			if err != nil {
				t.Fatal(err)
			}
			all[slot] = config
		}
		return all
	}
	route := func(prefix string, runs map[string]bool) *routev3.Route {
		return &routev3.Route{Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix}}, TypedPerFilterConfig: says(runs)}
	}
	value, err := proto.Marshal(&routev3.RouteConfiguration{
		Name:                 "routes",
		TypedPerFilterConfig: says(map[string]bool{"variant": false}),
		VirtualHosts: []*routev3.VirtualHost{{Routes: []*routev3.Route{
			route("/off", map[string]bool{"base": false}),
			route("/variant", map[string]bool{"base": false, "variant": true}),
			route("/both", map[string]bool{"variant": true}),
			route("/", nil),
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newContents().get(routes, value)
	if err != nil {
		t.Fatal(err)
	}
	at := func(filter string, revision int) *slot {
		return &slot{active: &content{filter: filter, revision: revision}}
	}
	e := &envoy{
		listeners: []listener{{content: &content{name: "web", routes: []string{"routes"}, slots: []string{"base", "variant", "empty"}}}},
		routes:    map[string]*content{"routes": c},
		slots:     map[string]*slot{"base": at("hello", 2), "variant": at("hello@1", 2), "empty": {}},
	}
	is := map[string]Treatment{"/off": Off, "/variant": Variant, "/": Itself}
	for _, prefix := range []string{"/off", "/variant", "/", "/both", "/none"} {
		for _, treatment := range []Treatment{Off, Itself, Variant} {
			want, known := is[prefix]
			if got := e.meets(RouteGoal{prefix, "hello", treatment}, 2); got != (known && want == treatment) {
				t.Errorf("%s: %v for %v", prefix, got, treatment)
			}
		}
	}
	if e.meets(RouteGoal{"/", "hello", Itself}, 3) {
		t.Error("an older revision is met")
	}
	if e.meets(RouteGoal{"/", "other", Itself}, 2) || !e.meets(RouteGoal{"/", "other", Off}, 2) {
		t.Error("a filter that is not there is met")
	}
}
