package fleet

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// route is a route of a route configuration. The prefix that it matches identifies it.
type route struct {
	prefix string
	says   map[string]bool // whether a slot runs
}

func readRoutes(value []byte) (*content, error) {
	var m routev3.RouteConfiguration
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, err
	}
	c := &content{name: m.GetName()}
	var err error
	if c.says, err = slotsIn(m.GetTypedPerFilterConfig()); err != nil {
		return nil, err
	}
	for _, host := range m.GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			says, err := slotsIn(r.GetTypedPerFilterConfig())
			if err != nil {
				return nil, err
			}
			c.routed = append(c.routed, route{r.GetMatch().GetPrefix(), says})
		}
	}
	return c, nil
}

// slotsIn returns which slots run, or nil if no slot is mentioned.
func slotsIn(configs map[string]*anypb.Any) (map[string]bool, error) {
	var says map[string]bool
	for slot, a := range configs {
		var m routev3.FilterConfig
		if !a.MessageIs(&m) {
			continue
		}
		if err := a.UnmarshalTo(&m); err != nil {
			return nil, err
		}
		if says == nil {
			says = map[string]bool{}
		}
		says[slot] = !m.GetDisabled()
	}
	return says, nil
}

// runs reports whether requests of a route run through a slot.
func (c *content) runs(r route, slot string) bool {
	if runs, ok := r.says[slot]; ok {
		return runs
	}
	runs, ok := c.says[slot]
	return runs || !ok
}

// Treatment is what should happen to a filter on a route.
type Treatment int

const (
	Off     Treatment = iota // it does not run there
	Itself                   // it runs there
	Variant                  // it runs there with another configuration
)

// RouteGoal is what requests of the first route with a prefix should meet of a filter.
type RouteGoal struct {
	Prefix, Filter string
	Treatment      Treatment
}

// meets reports whether requests meet it exactly once, in a revision or a later one.
func (e *envoy) meets(g RouteGoal, revision int) bool {
	for _, l := range e.listeners {
		for _, name := range l.routes {
			c := e.routes[name]
			if c == nil {
				continue
			}
			at := slices.IndexFunc(c.routed, func(r route) bool { return r.prefix == g.Prefix })
			if at < 0 {
				continue
			}
			var met []*content
			for _, slot := range l.slots {
				s := e.slots[slot]
				if s == nil || s.active == nil || !c.runs(c.routed[at], slot) {
					continue
				}
				if of, _, _ := strings.Cut(s.active.filter, "@"); of == g.Filter {
					met = append(met, s.active)
				}
			}
			if g.Treatment == Off {
				return len(met) == 0
			}
			return len(met) == 1 && met[0].revision >= revision && strings.Contains(met[0].filter, "@") == (g.Treatment == Variant)
		}
	}
	return false
}
