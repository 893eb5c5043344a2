package resource

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"wasmxds/definition"
)

// Routes of a native listener may do without some of its filters, and have others
// of their own: those that are attached to routes, and variants, which run in place
// of another. All of them are in the listener's chain, in slots like all others, and
// the route configuration says of the slots which run for which route.

// treatment is what routes have of a filter, when that is not all of them.
type treatment struct {
	filter string // name
	some   bool   // it runs for routes alone; false: for all but routes
	routes []int  // by their place in the definition
}

// treatmentOf finds it; nil: the filter runs for all.
func (l *listener) treatmentOf(f *filter, there map[string]bool) *treatment {
	if f.Network {
		return nil // connections have no routes
	}
	all, names := f.withheld[l.bare.Name], []string{}
	for _, m := range f.attach.Listeners {
		if m.Matches(l.target) {
			all = all || len(m.Routes) == 0
			names = append(names, m.Routes...)
		}
	}
	t := &treatment{filter: f.Name, some: !all || f.variantOf != ""}
	for i, r := range l.written {
		if l.runs(f, r, all, names, there) == t.some {
			t.routes = append(t.routes, i)
		}
	}
	if !t.some && len(t.routes) == 0 {
		return nil
	}
	return t
}

// runs tells whether a filter runs for a route, where it would for all, or for those of
// some names. Where the variant that is to run in its place is not there it runs itself.
func (l *listener) runs(f *filter, r definition.Route, all bool, names []string, there map[string]bool) bool {
	if f.variantOf != "" {
		return slices.ContainsFunc(r.Filters, func(of definition.RouteFilter) bool { return of.Variant == f.Name })
	}
	for _, of := range r.Filters {
		if of.Filter == f.Name && (of.Variant == "" || there[of.Variant]) {
			return false
		}
	}
	return all || r.Name != "" && slices.Contains(names, r.Name)
}

// takesSome tells whether a filter is attached to the listener, or to routes that it
// has.
func (l *listener) takesSome(f *filter) bool {
	return slices.ContainsFunc(f.attach.Listeners, func(m definition.ListenerMatch) bool {
		if !m.Matches(l.target) {
			return false
		}
		return len(m.Routes) == 0 || slices.ContainsFunc(l.written, func(r definition.Route) bool { return slices.Contains(m.Routes, r.Name) })
	})
}

// sameWritten tells whether routes say the same of filters.
func sameWritten(a, b []definition.Route) bool {
	return slices.EqualFunc(a, b, func(a, b definition.Route) bool {
		return a.Name == b.Name && slices.EqualFunc(a.Filters, b.Filters, func(a, b definition.RouteFilter) bool {
			return a.Filter == b.Filter && a.Variant == b.Variant
		})
	})
}

// treats are the treatments of filters, by their ids.
type treats map[string]*treatment

// treatsOf finds those of filters, and what stands for them.
func (l *listener) treatsOf(filters []*filter) (treats, string) {
	if l.routes == nil {
		return nil, ""
	}
	var all treats
	var b strings.Builder
	there := map[string]bool{}
	for _, f := range filters {
		there[f.Name] = true
	}
	for _, f := range filters {
		t := l.treatmentOf(f, there)
		if t == nil {
			continue
		}
		if all == nil {
			all = treats{}
		}
		all[f.ID] = t
		fmt.Fprintf(&b, "%q%t%v", t.filter, t.some, t.routes)
	}
	return all, b.String()
}

// Mention is a slot of a layout that a route configuration treats as that of a
// filter: where the filter runs for some routes only, so does whatever is in it.
type Mention struct {
	Slot   int    // number
	Filter string // id
}

// Mentions are those of a route configuration, by slot. Its version ends with them,
// so that any xds-server knows which slots an Envoy's routes speak of.
type Mentions []Mention

// String is as a version has it.
func (m Mentions) String() string {
	var b strings.Builder
	for i, of := range m {
		b.WriteByte("+-"[min(i, 1)])
		b.WriteString(strconv.Itoa(of.Slot))
		b.WriteByte(':')
		b.WriteString(of.Filter)
	}
	return b.String()
}

// CutMentions gives the version of routes without mentions, and those.
func CutMentions(version string) (base string, m Mentions) {
	base, text, _ := strings.Cut(version, "+")
	if len(text) > maxMentions {
		return version, nil
	}
	for part := range strings.SplitSeq(text, "-") {
		number, id, ok := strings.Cut(part, ":")
		slot, err := strconv.Atoi(number)
		if !ok || err != nil || slot < 0 || slot >= maxSlots || len(m) > 0 && m[len(m)-1].Slot >= slot {
			continue // not written here
		}
		m = append(m, Mention{slot, id})
	}
	return base, m
}

const maxMentions = 32 << 10 // bytes, more than any layout has

// At is the id of the filter that a slot is mentioned for; "": it is not.
func (m Mentions) At(slot int) string {
	if i, ok := m.find(slot); ok {
		return m[i].Filter
	}
	return ""
}

// With is m and another mention.
func (m Mentions) With(of Mention) Mentions {
	i, ok := m.find(of.Slot)
	if ok {
		return m
	}
	return slices.Insert(slices.Clone(m), i, of)
}

func (m Mentions) find(slot int) (int, bool) {
	return slices.BinarySearchFunc(m, slot, func(of Mention, slot int) int { return of.Slot - slot })
}

// SlotNumber is the number in the name of a listener's own slot.
func SlotNumber(slot string) int {
	n, _ := strconv.Atoi(slot[strings.LastIndexByte(slot, '/')+1:])
	return n
}

// Treats tells whether the listener's routes treat a filter, by its id, otherwise
// than as one that runs for all; some: it runs only for those that say so.
func (l *Listener) Treats(id string) (some, treated bool) {
	t := l.treats[id]
	return t != nil && t.some, t != nil
}

// treated is a route configuration whose routes have what treats say in the slots
// that are mentioned. What is mentioned for another filter is shut for all.
func (l *Listener) treated(m *routev3.RouteConfiguration, mentions Mentions) *routev3.RouteConfiguration {
	listener, id, _ := RoutesOf(m.Name)
	var shut []string
	for _, of := range mentions {
		slot, t := slotName(listener, id, of.Slot), l.treats[of.Filter]
		if t == nil || t.some {
			shut = append(shut, slot)
		}
		if t == nil {
			continue
		}
		i := 0
		for _, host := range m.VirtualHosts {
			for _, r := range host.Routes {
				if slices.Contains(t.routes, l.compiled.routeAt[i]) {
					treat(&r.TypedPerFilterConfig, slot, t.some)
				}
				i++
			}
		}
	}
	return shutIn(m, shut)
}

// shutIn has slots run for no route but those that say so, nor where there is none.
func shutIn(m *routev3.RouteConfiguration, slots []string) *routev3.RouteConfiguration {
	if len(slots) == 0 {
		return m
	}
	for _, slot := range slots {
		treat(&m.TypedPerFilterConfig, slot, false)
	}
	// A request that no route matches runs through all that the chain has: here it
	// has a route, which answers what Envoy does without one.
	every := false
	for _, host := range m.VirtualHosts {
		every = every || slices.Contains(host.Domains, "*")
		if n := len(host.Routes); n == 0 || !proto.Equal(host.Routes[n-1].Match, rest().Match) {
			host.Routes = append(host.Routes, rest())
		}
	}
	if !every {
		m.VirtualHosts = append(m.VirtualHosts, &routev3.VirtualHost{Name: "*", Domains: []string{"*"}, Routes: []*routev3.Route{rest()}})
	}
	return m
}

// rest is the route of requests that have no other.
func rest() *routev3.Route {
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
	}
}

// treat has a slot run, or not, where a configuration is.
func treat(in *map[string]*anypb.Any, slot string, runs bool) {
	config := &routev3.FilterConfig{Disabled: !runs}
	if runs {
		config.Config = new(anypb.Any) // that it is there, and empty, is what Envoy asks for
	}
	value, err := pack(config)
	if err != nil {
		panic(err) // a constant
	}
	if *in == nil {
		*in = map[string]*anypb.Any{}
	}
	(*in)[slot] = value
}

// Shut is a route configuration of the listener that an Envoy has, which mentions more
// slots. Where it says nothing of what is to come into them they run for no route: it
// then meets no request before there are routes that have a use for it.
func (l *Listener) Shut(have *Resource, more Mentions) *Resource {
	base, mentions := CutMentions(have.Version)
	listener, id, own := RoutesOf(have.Name)
	if !own || l.compiled == nil {
		return nil
	}
	if base == l.RoutesBase { // which say already for which routes they run
		for _, of := range more {
			mentions = mentions.With(of)
		}
		return l.RouteConfig(have.Name, mentions)
	}
	var slots []string
	for _, of := range more {
		if mentions.At(of.Slot) == "" {
			slots = append(slots, slotName(listener, id, of.Slot))
		}
		mentions = mentions.With(of)
	}
	version := base + mentions.String()
	return l.compiled.named.get(have.Name+" "+version, func() *Resource {
		m := new(routev3.RouteConfiguration)
		if err := proto.Unmarshal(have.Value, m); err != nil {
			return nil // it was never sent
		}
		r, err := New(RouteType, have.Name, shutIn(m, slots))
		if err != nil {
			return nil
		}
		r.Version = version
		return r
	})
}

// mentions are those of a listener that is new.
func (l *Listener) mentions() Mentions {
	if len(l.treats) == 0 {
		return nil
	}
	var m Mentions
	for slot, name := range l.Spread(l.In(l.Version)) {
		if _, treated := l.Treats(nameID(name)); treated {
			m = m.With(Mention{SlotNumber(slot), nameID(name)})
		}
	}
	return m
}
