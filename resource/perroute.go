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

// Routes of a native listener may turn some of its filters off, and have others
// of their own: filters that are attached to routes, and variants, which
// replace another filter. All of them are in the listener's chain, in ordinary
// slots. The route configuration determines which slots run for which route.

// treatment describes on which routes a filter runs, if it does not run on all.
type treatment struct {
	filter string // name of the filter
	some   bool   // it runs only on routes; false: on all except routes
	routes []int  // indices in the definition
}

// treatmentOf returns the treatment of a filter, or nil if it runs on all
// routes.
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

// runs reports whether a filter, which is attached to all routes or to those
// with some names, runs on route r. A filter also runs if the variant that
// replaces it is missing.
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

// takesSome reports whether a filter is attached to the listener, or to some of
// its routes.
func (l *listener) takesSome(f *filter) bool {
	return slices.ContainsFunc(f.attach.Listeners, func(m definition.ListenerMatch) bool {
		if !m.Matches(l.target) {
			return false
		}
		return len(m.Routes) == 0 || slices.ContainsFunc(l.written, func(r definition.Route) bool { return slices.Contains(m.Routes, r.Name) })
	})
}

// sameWritten reports whether routes treat filters in the same way.
func sameWritten(a, b []definition.Route) bool {
	return slices.EqualFunc(a, b, func(a, b definition.Route) bool {
		return a.Name == b.Name && slices.EqualFunc(a.Filters, b.Filters, func(a, b definition.RouteFilter) bool {
			return a.Filter == b.Filter && a.Variant == b.Variant
		})
	})
}

// treats has treatments by the ids of filters.
type treats map[string]*treatment

// treatsOf returns the treatments of filters, and a string that identifies
// them.
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

// Mention is a slot that a route configuration treats as that of a filter: on
// routes where the filter does not run, no content of the slot runs.
type Mention struct {
	Slot   int    // number of the slot
	Filter string // id of the filter
}

// Mentions are those of a route configuration, by slot. Its version ends with
// them, so that any xds-server knows which slots an Envoy's routes mention.
type Mentions []Mention

// String returns m as written in versions.
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

// CutMentions splits the version of a route configuration into the version
// without mentions, and the mentions.
func CutMentions(version string) (base string, m Mentions) {
	base, text, _ := strings.Cut(version, "+")
	if len(text) > maxMentions {
		return version, nil
	}
	for part := range strings.SplitSeq(text, "-") {
		number, id, ok := strings.Cut(part, ":")
		slot, err := strconv.Atoi(number)
		if !ok || err != nil || slot < 0 || slot >= maxSlots || len(m) > 0 && m[len(m)-1].Slot >= slot {
			continue // not written by String
		}
		m = append(m, Mention{slot, id})
	}
	return base, m
}

const maxMentions = 32 << 10 // bytes, more than any layout has

// At returns the id of the filter that a slot is mentioned for, or "" if it is
// not mentioned.
func (m Mentions) At(slot int) string {
	if i, ok := m.find(slot); ok {
		return m[i].Filter
	}
	return ""
}

// With returns m with another mention.
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

// SlotNumber returns the number in the name of a listener's own slot.
func SlotNumber(slot string) int {
	n, _ := strconv.Atoi(slot[strings.LastIndexByte(slot, '/')+1:])
	return n
}

// Treats reports whether the listener's routes treat the filter with this id
// differently from one that runs on all routes. If some is set, it runs only on
// routes that enable it.
func (l *Listener) Treats(id string) (some, treated bool) {
	t := l.treats[id]
	return t != nil && t.some, t != nil
}

// treated adds the treatments to a route configuration, for the slots that are
// mentioned. It shuts slots that are mentioned for another filter on all
// routes.
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

// shutIn disables slots on all routes that do not enable them, and for requests
// without a route.
func shutIn(m *routev3.RouteConfiguration, slots []string) *routev3.RouteConfiguration {
	if len(slots) == 0 {
		return m
	}
	for _, slot := range slots {
		treat(&m.TypedPerFilterConfig, slot, false)
	}
	// A request that matches no route runs through the whole filter chain. This
	// adds a route for it, with the response that Envoy gives without one.
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

// rest returns the route for requests that match no other.
func rest() *routev3.Route {
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
	}
}

// treat makes a slot run, or not run, where the configuration applies.
func treat(in *map[string]*anypb.Any, slot string, runs bool) {
	config := &routev3.FilterConfig{Disabled: !runs}
	if runs {
		config.Config = new(anypb.Any) // Envoy requires it to be set, but it may be empty
	}
	value, err := pack(config)
	if err != nil {
		panic(err) // can't happen: it is a constant
	}
	if *in == nil {
		*in = map[string]*anypb.Any{}
	}
	(*in)[slot] = value
}

// Shut returns the route configuration that an Envoy has, with more mentions.
// If it does not already determine where the future content of these slots
// runs, they run on no route, so that the content meets no request before there
// are routes for it.
func (l *Listener) Shut(have *Resource, more Mentions) *Resource {
	base, mentions := CutMentions(have.Version)
	listener, id, own := RoutesOf(have.Name)
	if !own || l.compiled == nil {
		return nil
	}
	if base == l.RoutesBase { // it already determines on which routes they run
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
			return nil // can't happen: this was never sent
		}
		r, err := New(RouteType, have.Name, shutIn(m, slots))
		if err != nil {
			return nil
		}
		r.Version = version
		return r
	})
}

// mentions returns the mentions of a listener that is new.
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
