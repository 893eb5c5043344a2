package resource

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"wasmxds/definition"
)

// RoutesPrefix begins the names of native listeners' route configurations, which
// are resources of their own, so that a changed route replaces no listener.
// Behind it are the listener's name and the id of its layout, as in the names of
// its slots: a listener that takes the place of another has its new routes from
// the first request on, and the other keeps those that its filters are for.
const RoutesPrefix = definition.RoutesPrefix

// RoutesOf finds the listener whose route configuration this is, and the
// listener's id.
func RoutesOf(name string) (listener, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, RoutesPrefix)
	if !ok {
		return "", "", false
	}
	return cutLast(rest)
}

// RouteConfig is the listener's route configuration under a name; nil where it
// is not a native one.
func (l *Listener) RouteConfig(name string) *Resource {
	if l.compiled == nil || l.compiled.routes == nil {
		return nil
	}
	return l.compiled.named.get(name, func() *Resource {
		m := proto.CloneOf(l.compiled.routes)
		m.Name = name
		r, err := New(RouteType, name, m)
		if err != nil {
			panic(err) // but for its name it was marshalled before
		}
		r.Version = l.compiled.routesVersion
		return r
	})
}

// routes are a native listener's, in the order of the file, and the clusters
// that they lead to.
func (o Options) routes(d *definition.Listener) (*routev3.RouteConfiguration, []*Resource, error) {
	host := &routev3.VirtualHost{Name: d.Name, Domains: []string{"*"}}
	var clusters []*Resource
	for i, r := range d.Routes {
		action := &routev3.RouteAction{}
		if r.Timeout != "" {
			timeout, err := time.ParseDuration(r.Timeout)
			if err != nil || timeout < 0 {
				return nil, nil, fmt.Errorf("routes[%d].timeout: %q is not a duration, like 15s", i, r.Timeout)
			}
			action.Timeout = durationpb.New(timeout)
		}
		to, err := o.upstreams(action, r.Upstreams)
		if err != nil {
			return nil, nil, fmt.Errorf("routes[%d].%w", i, err)
		}
		clusters = append(clusters, to...)
		host.Routes = append(host.Routes, &routev3.Route{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: r.Prefix}},
			Action: &routev3.Route_Route{Route: action},
		})
	}
	m := &routev3.RouteConfiguration{Name: RoutesPrefix + d.Name, VirtualHosts: []*routev3.VirtualHost{host}}
	if _, err := check(RouteType, m.Name, m); err != nil {
		return nil, nil, err
	}
	return m, clusters, nil
}

// upstreams leads action to the upstreams by their weights.
func (o Options) upstreams(action *routev3.RouteAction, upstreams []definition.Upstream) ([]*Resource, error) {
	var clusters []*Resource
	weighted := new(routev3.WeightedCluster)
	for _, u := range upstreams {
		end, err := parseEndpoint(u.Address, u.TLS)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		c, err := o.cluster(end.name(), end)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		clusters = append(clusters, c)
		w := &routev3.WeightedCluster_ClusterWeight{Name: c.Name, Weight: wrapperspb.UInt32(u.Weight)}
		if end.tls && !end.isIP() {
			// Whom we verify by name is also asked by that name.
			w.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: end.host}
		}
		weighted.Clusters = append(weighted.Clusters, w)
	}
	switch len(weighted.Clusters) {
	case 0:
		return nil, fmt.Errorf("upstream: none")
	case 1:
		only := weighted.Clusters[0]
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: only.Name}
		if name := only.GetHostRewriteLiteral(); name != "" {
			action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: name}
		}
	default:
		action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
	}
	return clusters, nil
}
