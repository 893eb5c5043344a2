package resource

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// listener is a listener, native or raw, compiled: ready to have slots put
// into it.
type listener struct {
	bare     *Resource // without slots of ours
	message  *listenerv3.Listener
	target   definition.Target     // what filters are attached by
	http     bool                  // there is a place for filters
	lists    [][]*hcmv3.HttpFilter // of HTTP filters, as it was written
	own      []string              // slots for Wasm filters it was written with
	static   []string              // slots for other extensions
	clusters []*Resource           // of its upstreams

	with *memo[*Listener] // by its slots
}

func (l *listener) same(p part) bool {
	m, ok := p.(*listener)
	return ok && l.bare.equal(m.bare) && l.target == m.target &&
		slices.EqualFunc(l.clusters, m.clusters, (*Resource).equal)
}

// newListener compiles m. All that could go wrong when slots are put in goes
// wrong here.
func newListener(m *listenerv3.Listener, target definition.Target, means *meaning) (*listener, error) {
	bare, err := check(ListenerType, m.GetName(), m)
	if err != nil {
		return nil, err
	}
	l := &listener{
		bare:    bare.withVersion(means),
		message: m,
		target:  target,
		with:    new(memo[*Listener]),
	}
	own := make(map[string]bool)
	for at := range connectionManagers(m) {
		hcm, err := unpack(at)
		if err != nil {
			return nil, err
		}
		for _, chain := range filterChains(hcm) {
			if routerAt(*chain) < 0 {
				return nil, fmt.Errorf("an HTTP connection manager (stat_prefix %q) has no router (%s) at the end of its HTTP filters", hcm.GetStatPrefix(), routerName)
			}
			l.lists = append(l.lists, *chain)
			for _, f := range *chain {
				if isWasmSlot(f) {
					own[f.GetName()] = true
				}
			}
		}
		l.http = true
	}
	l.own = slices.Sorted(maps.Keys(own))
	l.static = staticSlots(m)
	return l, nil
}

// takes says whether the filter belongs into the listener.
func (l *listener) takes(f *filter) bool {
	return l.http && (f.attach.Matches(l.target) || f.withheld[l.bare.Name])
}

// slotted is the listener with the filters' slots, which must be in order.
func (l *listener) slotted(filters []*filter) *Listener {
	var key strings.Builder
	for _, f := range filters {
		fmt.Fprintf(&key, "%q%q%d", f.Name, f.place, len(f.slotEntry.GetConfigDiscovery().GetTypeUrls()))
	}
	return l.with.get(key.String(), func() *Listener { return l.insert(filters) })
}

func (l *listener) insert(filters []*filter) *Listener {
	out := &Listener{Resource: l.bare, Slots: slices.Clone(l.own), Static: l.static}
	if len(filters) == 0 {
		return out
	}
	m := proto.CloneOf(l.message)
	for at := range connectionManagers(m) {
		hcm, err := unpack(at)
		if err != nil {
			panic(err) // newListener has unpacked the same
		}
		for _, chain := range filterChains(hcm) {
			*chain = withSlots(l.bare.Name, *chain, filters)
		}
		if at.ConfigType, err = packed(hcm); err != nil {
			panic(err) // what was unpacked, and slots that were marshalled before
		}
	}
	for _, f := range filters {
		out.Slots = append(out.Slots, f.Name)
	}
	slices.Sort(out.Slots)
	out.Slots = slices.Compact(out.Slots)
	r, err := New(ListenerType, l.bare.Name, m)
	if err != nil {
		panic(err) // likewise
	}
	means := meaningOf("listener with filters").text("listener", l.bare.Version)
	for _, f := range filters {
		means.text("filter", f.Name).
			text("at", string(f.place.At)).text("before", f.place.Before).text("after", f.place.After).flag("open", f.OnFailure == definition.Open)
	}
	out.Resource = r.withVersion(means)
	return out
}

// listenerEntry compiles a native listener.
func (b *builder) listenerEntry(d *definition.Listener) *catalogEntry {
	e := &catalogEntry{key: key{ListenerType, d.Name}, nodes: b.sameNodes(d.Nodes), pos: d.Pos}
	l, err := b.opts.listener(d)
	if err != nil {
		e.problems = append(e.problems, problem(d.Pos, "", "listener %s: %v", d.Name, err))
		return e
	}
	e.part = l
	return e
}

func (o Options) listener(d *definition.Listener) (*listener, error) {
	if d.Name == PrimerListener {
		return nil, fmt.Errorf("the name %q is taken by the listener that modules are tried in", d.Name)
	}
	address, err := listenAddress(d.Address)
	if err != nil {
		return nil, err
	}
	routes, clusters, err := o.routes(d)
	if err != nil {
		return nil, err
	}
	hcm := connectionManager(d.Name)
	hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes}
	config, err := packed(hcm)
	if err != nil {
		return nil, err
	}
	l, err := newListener(&listenerv3.Listener{
		Name:             d.Name,
		Address:          address,
		TrafficDirection: trafficDirection(d.Direction),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{Name: managerName, ConfigType: config}},
		}},
	}, d.Target(), listenerMeaning(d))
	if err != nil {
		return nil, err
	}
	l.clusters = clusters
	return l, nil
}

// listenAddress reads what a listener listens on: Envoy takes no names here.
func listenAddress(s string) (*corev3.Address, error) {
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, fmt.Errorf("address: %q is not an IP address and a port, like 127.0.0.1:8080", s)
	}
	return socketAddress(at.Addr().String(), uint32(at.Port())), nil
}

func trafficDirection(d definition.Direction) corev3.TrafficDirection {
	switch d {
	case definition.Inbound:
		return corev3.TrafficDirection_INBOUND
	case definition.Outbound:
		return corev3.TrafficDirection_OUTBOUND
	}
	return corev3.TrafficDirection_UNSPECIFIED
}
