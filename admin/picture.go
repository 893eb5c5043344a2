package admin

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// picture is a listener as the path of requests or connections.
type picture struct {
	Name     string
	Withheld bool
	Reason   string // why it is not, or not yet, as drawn
	Draining *swap.Draining
	Chains   []chain
}

// chain is one filter chain, up to an HTTP connection manager or a TCP proxy:
// client, filters in order, upstreams.
type chain struct {
	Address   string
	Filters   []step
	Upstreams []upstream
}

type step struct {
	Name string
	Wasm bool
	// For a Wasm filter on this Envoy:
	State   swap.State
	Running string // version; "": none
}

type upstream struct{ Match, To string }

// pictures draws what node n should have.
func pictures(s *resource.Snapshot, n *xds.NodeStatus) []picture {
	if s == nil {
		return nil
	}
	filters := map[string]swap.FilterStatus{}
	for _, f := range n.Filters {
		filters[f.Name] = f
	}
	had := map[string]swap.ListenerStatus{}
	for _, l := range n.Listeners {
		had[l.Name] = l
	}
	m := readMap(s)
	var ps []picture
	for _, l := range s.Listeners {
		p := picture{Name: l.Name}
		if h, ok := had[l.Name]; ok {
			p.Draining = h.Draining
			if behind(&h) {
				p.Withheld, p.Reason = h.Running == "", h.Reason
			}
		}
		msg := new(listenerv3.Listener)
		if err := proto.Unmarshal(l.Value, msg); err == nil {
			p.Chains = m.chains(msg, l, filters)
		}
		ps = append(ps, p)
	}
	return ps
}

// roads has the routes and clusters of a snapshot.
type roads struct {
	routes    map[string]*routev3.RouteConfiguration
	endpoints map[string][]string // by cluster
}

func readMap(s *resource.Snapshot) *roads {
	m := &roads{map[string]*routev3.RouteConfiguration{}, map[string][]string{}}
	for _, r := range s.Routes {
		msg := new(routev3.RouteConfiguration)
		if proto.Unmarshal(r.Value, msg) == nil {
			m.routes[r.Name] = msg
		}
	}
	for _, r := range s.Clusters {
		msg := new(clusterv3.Cluster)
		if proto.Unmarshal(r.Value, msg) == nil {
			m.endpoints[r.Name] = addresses(msg.GetLoadAssignment())
		}
	}
	for _, r := range s.Endpoints {
		msg := new(endpointv3.ClusterLoadAssignment)
		if proto.Unmarshal(r.Value, msg) == nil {
			m.endpoints[r.Name] = addresses(msg)
		}
	}
	return m
}

func addresses(a *endpointv3.ClusterLoadAssignment) []string {
	var all []string
	for _, locality := range a.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			all = append(all, addressText(e.GetEndpoint().GetAddress()))
		}
	}
	return all
}

func addressText(a *corev3.Address) string {
	if p := a.GetPipe(); p != nil {
		return p.GetPath()
	}
	sock := a.GetSocketAddress()
	return net.JoinHostPort(sock.GetAddress(), strconv.Itoa(int(sock.GetPortValue())))
}

func (m *roads) chains(l *listenerv3.Listener, of *resource.Listener, filters map[string]swap.FilterStatus) []chain {
	var cs []chain
	held := heldBySlots(of)
	put := func(steps []step, name string) []step {
		if filter, own := held[name]; own {
			if filter == "" {
				return steps // a spare slot
			}
			return append(steps, step{filter, true, filters[filter].State, filters[filter].Running})
		}
		f, wasm := filters[name], slices.Contains(of.Slots, name)
		if !wasm {
			name = shortName(name)
		}
		return append(steps, step{name, wasm, f.State, f.Running})
	}
	for _, fc := range append(slices.Clip(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		c := chain{Address: "to " + addressText(l.GetAddress())}
		for _, f := range fc.GetFilters() {
			hcm, tcp := new(hcmv3.HttpConnectionManager), new(tcpv3.TcpProxy)
			switch config := f.GetTypedConfig(); {
			case config == nil || !config.MessageIs(hcm) && !config.MessageIs(tcp):
				c.Filters = put(c.Filters, f.GetName())
				continue
			case config.UnmarshalTo(hcm) == nil:
				for _, hf := range hcm.GetHttpFilters() {
					if shortName(hf.GetName()) != "router" || slices.Contains(of.Slots, hf.GetName()) {
						c.Filters = put(c.Filters, hf.GetName())
					}
				}
				c.Upstreams = m.upstreams(hcm)
			case config.UnmarshalTo(tcp) == nil:
				c.Upstreams = m.proxied(tcp)
			}
			cs = append(cs, c)
			break // the last filter of the chain
		}
	}
	return cs
}

// shortName returns a filter's name without Envoy's common prefixes.
func shortName(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "envoy.filters.http."), "envoy.filters.network.")
}

// proxied returns the upstreams of a TCP proxy.
func (m *roads) proxied(tcp *tcpv3.TcpProxy) []upstream {
	to := func(cluster string) upstream { return upstream{"connections", m.cluster(cluster)} }
	if name := tcp.GetCluster(); name != "" {
		return []upstream{to(name)}
	}
	var us []upstream
	for _, w := range tcp.GetWeightedClusters().GetClusters() {
		us = append(us, to(w.GetName()))
	}
	return us[:min(len(us), maxUpstreams)]
}

// heldBySlots returns the filters that a listener's own slots hold; "" is none.
func heldBySlots(l *resource.Listener) map[string]string {
	if layout := l.In(l.Version); layout != nil {
		return l.Spread(layout)
	}
	return nil
}

// maxUpstreams bounds the number of routes of a listener that are drawn.
const maxUpstreams = 12

func (m *roads) upstreams(hcm *hcmv3.HttpConnectionManager) []upstream {
	routes := hcm.GetRouteConfig()
	if name := hcm.GetRds().GetRouteConfigName(); name != "" {
		if routes = m.routes[name]; routes == nil {
			return []upstream{{"routes", name}}
		}
	}
	var us []upstream
	for _, host := range routes.GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			if len(us) == maxUpstreams {
				return append(us, upstream{"and more", ""})
			}
			us = append(us, upstream{matchText(host, r.GetMatch()), m.target(r)})
		}
	}
	return us
}

func matchText(host *routev3.VirtualHost, match *routev3.RouteMatch) string {
	text := ""
	if d := host.GetDomains(); len(d) > 0 && d[0] != "*" {
		text = d[0]
	}
	switch p := match.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		return text + p.Prefix
	case *routev3.RouteMatch_Path:
		return text + p.Path + " exactly"
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return text + p.PathSeparatedPrefix
	case *routev3.RouteMatch_SafeRegex:
		return text + " ~ " + p.SafeRegex.GetRegex()
	}
	return text
}

// target describes where a route leads.
func (m *roads) target(r *routev3.Route) string {
	switch a := r.GetAction().(type) {
	case *routev3.Route_DirectResponse:
		return fmt.Sprintf("answered %d", a.DirectResponse.GetStatus())
	case *routev3.Route_Redirect:
		return "redirected"
	}
	if c := r.GetRoute().GetCluster(); c != "" {
		return m.cluster(c)
	}
	var parts []string
	for _, c := range r.GetRoute().GetWeightedClusters().GetClusters() {
		parts = append(parts, fmt.Sprintf("%s (weight %d)", m.cluster(c.GetName()), c.GetWeight().GetValue()))
	}
	return strings.Join(parts, ", ")
}

func (m *roads) cluster(name string) string {
	if e := m.endpoints[name]; len(e) > 0 {
		return strings.Join(e, ", ")
	}
	return name
}
