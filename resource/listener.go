package resource

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// listener is a compiled native or raw listener, ready for slots to be
// inserted.
type listener struct {
	bare      *Resource // without slots of its own
	message   *listenerv3.Listener
	target    definition.Target // what filters are attached by
	lists     []list            // distinct lists of HTTP filters, as written
	listOf    []int             // for each list of the message, its index in lists
	networks  []list            // the same for network filters
	networkOf []int
	spares    bool        // networks have spare slots even if there are no network filters
	own       []string    // slots for Wasm filters that it was written with
	static    []string    // slots for other extensions
	rds       []string    // names of the route configurations that a raw listener refers to
	secrets   []*Resource // for its TLS

	nativeRoutes

	holding *memo[*Listener]          // by the filters that its slots must hold
	logging *shared[string, Listener] // by these and its access loggers
	layouts *shared[string, Layout]
	named   *shared[string, Resource] // its route configuration, by name
}

func (l *listener) same(p part) bool {
	m, ok := p.(*listener)
	return ok && l.bare.equal(m.bare) && l.target == m.target && l.routesVersion == m.routesVersion && sameWritten(l.written, m.written) &&
		slices.EqualFunc(l.clusters, m.clusters, (*Resource).equal) && slices.EqualFunc(l.secrets, m.secrets, (*Resource).equal)
}

// newListener compiles m. It detects all errors that could occur when slots are
// inserted.
func (o Options) newListener(m *listenerv3.Listener, target definition.Target, means *meaning) (*listener, error) {
	m, err := o.withLoggers(m, means)
	if err != nil {
		return nil, err
	}
	bare, err := check(ListenerType, m.GetName(), m)
	if err != nil {
		return nil, err
	}
	l := &listener{
		bare:    bare.withVersion(means),
		message: m,
		target:  target,
		holding: new(memo[*Listener]),
		logging: new(shared[string, Listener]),
		layouts: new(shared[string, Layout]),
		named:   new(shared[string, Resource]),
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
			l.lists, l.listOf = addTo(l.lists, l.listOf, *chain)
			for _, f := range *chain {
				if f.GetConfigDiscovery() != nil && checkName(f.GetName()) != nil {
					return nil, fmt.Errorf("HTTP filter %q: %w", f.GetName(), checkName(f.GetName()))
				}
				if isWasmSlot(f) {
					own[f.GetName()] = true
				}
			}
		}
		if name := hcm.GetRds().GetRouteConfigName(); name != "" && !slices.Contains(l.rds, name) {
			l.rds = append(l.rds, name)
		}
	}
	if err := l.addNetworkLists(own); err != nil {
		return nil, err
	}
	l.own = slices.Sorted(maps.Keys(own))
	l.static = staticSlots(m)
	return l, nil
}

// takes reports whether the filter belongs in the listener.
func (l *listener) takes(f *filter) bool {
	return l.hasListFor(f) && (l.takesSome(f) || f.withheld[l.bare.Name])
}

// holds returns the listener with slots for filters, which must be in order. If
// lua is set, the slots also accept Lua filters.
func (l *listener) holds(filters []*filter, spares Spares, lua bool) *Listener {
	filters, loggers := withoutLoggers(filters)
	var key strings.Builder
	if lua {
		key.WriteString("lua")
	}
	for _, f := range filters {
		fmt.Fprintf(&key, "%q%q", f.Name, fmt.Sprint(f.place))
	}
	if len(loggers) > 0 {
		fmt.Fprintf(&key, "%q", namesOf(loggers))
	}
	treats, words := l.treatsOf(filters)
	key.WriteString(words)
	return l.holding.get(key.String(), func() *Listener {
		out := &Listener{Base: l.bare.Version, Static: l.static, Routes: l.rds, Spares: spares, Loggers: namesOf(loggers), compiled: l, key: key.String()}
		out.treats, out.RoutesBase = treats, l.routesVersion
		if treats != nil {
			out.RoutesBase = meaningOf("routes and filters").text("routes", l.routesVersion).text("filters", words).version()
		}
		out.Chains = l.chains(filters)
		for _, chain := range out.Chains {
			for i := range chain {
				_, chain[i].Some = out.Treats(nameID(chain[i].Filter))
			}
		}
		for _, chain := range out.Chains {
			for _, w := range chain {
				out.Filters = append(out.Filters, w.Filter)
			}
		}
		out.counts = l.counts(out.Chains, spares, lua)
		fresh := out.Fresh(func(string) bool { return false })
		out.Resource, out.Slots, out.RoutesName = fresh.Resource(), fresh.Slots, fresh.Routes
		return out
	}).logged(loggers)
}

// listenerEntry compiles a native listener.
func (b *builder) listenerEntry(d *definition.Listener) *catalogEntry {
	e := &catalogEntry{key: key{ListenerType, d.Name}, nodes: b.sameNodes(d.Nodes), pos: d.Pos}
	l, err := b.opts.listener(d)
	pair := b.view.pairs[d]
	if err == nil {
		l.secrets, err = secrets(d, pair)
	}
	e.problems = append(e.problems, pair.problems(d)...)
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
	if d.TCP != nil {
		return o.tcpListener(d, address)
	}
	routes, err := o.routes(d)
	if err != nil {
		return nil, err
	}
	hcm := connectionManager(d.Name)
	if hcm.AccessLog, err = accessLog(d.AccessLog); err != nil {
		return nil, err
	}
	hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: routes.routes.Name}}
	config, err := packed(hcm)
	if err != nil {
		return nil, err
	}
	l, err := o.nativeListener(d, address, &listenerv3.Filter{Name: managerName, ConfigType: config}, listenerMeaning(d))
	if err != nil {
		return nil, err
	}
	l.nativeRoutes = *routes
	return l, nil
}

// nativeListener compiles a native listener whose only network filter is given.
func (o Options) nativeListener(d *definition.Listener, address *corev3.Address, to *listenerv3.Filter, means *meaning) (*listener, error) {
	chain := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{to}}
	if d.TLS != nil {
		var err error
		if chain.TransportSocket, err = downstreamTLS(d); err != nil {
			return nil, err
		}
	}
	return o.newListener(&listenerv3.Listener{
		Name:             d.Name,
		Address:          address,
		TrafficDirection: trafficDirection(d.Direction),
		FilterChains:     []*listenerv3.FilterChain{chain},
	}, d.Target(), means)
}

// listenAddress parses the address of a listener, which must be an IP address.
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
