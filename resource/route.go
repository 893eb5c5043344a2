package resource

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"wasmxds/definition"
)

// RoutesPrefix begins the names of native listeners' route configurations.
// These are resources of their own, so that a change of routes replaces no
// listener. The prefix is followed by the listener's name and the id of its
// layout, as in the names of its slots: a listener that replaces another uses
// its new routes from the first request on, while the other keeps the routes
// that match its filters.
const RoutesPrefix = definition.RoutesPrefix

// RoutesOf returns the listener of a route configuration, and the id of the
// listener's version.
func RoutesOf(name string) (listener, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, RoutesPrefix)
	if !ok {
		return "", "", false
	}
	return cutLast(rest)
}

// RouteConfig returns the listener's route configuration under a name, with
// mentions of slots whose filters do not run on all routes. It returns nil for
// a raw listener.
func (l *Listener) RouteConfig(name string, mentions Mentions) *Resource {
	if l.compiled == nil || l.compiled.routes == nil {
		return nil
	}
	version := l.RoutesBase + mentions.String()
	return l.compiled.named.get(name+" "+version, func() *Resource {
		m := proto.CloneOf(l.compiled.routes)
		m.Name = name
		r, err := New(RouteType, name, l.treated(m, mentions))
		if err != nil {
			panic(err) // can't happen: except for its name, it was marshalled before
		}
		r.Version = version
		return r
	})
}

// nativeRoutes are the routes of a native listener. A raw listener, which has
// its own, has the zero value.
type nativeRoutes struct {
	routes        *routev3.RouteConfiguration // nil: a raw listener
	routeAt       []int                       // for each route in it, host by host: its index in written
	routesVersion string
	written       []definition.Route
	clusters      []*Resource // of the upstreams
}

// routes returns the routes of a native listener, in the order of the file, and
// the clusters that they refer to.
func (o Options) routes(d *definition.Listener) (*nativeRoutes, error) {
	out := &nativeRoutes{written: d.Routes, routesVersion: routesMeaning(d).version()}
	made := make([]*routev3.Route, len(d.Routes))
	for i, r := range d.Routes {
		route := &routev3.Route{Match: routeMatch(r)}
		if r.Redirect != nil {
			route.Action = &routev3.Route_Redirect{Redirect: redirect(r.Redirect)}
		} else {
			action, to, err := o.routeAction(r)
			if err != nil {
				return nil, fmt.Errorf("routes[%d].%w", i, err)
			}
			route.Action = &routev3.Route_Route{Route: action}
			out.clusters = append(out.clusters, to...)
		}
		made[i] = route
	}
	m := &routev3.RouteConfiguration{Name: RoutesPrefix + d.Name}
	for _, h := range definition.VirtualHosts(d.Routes) {
		host := &routev3.VirtualHost{Name: d.Name, Domains: h.Domains}
		if h.Domains[0] != "*" {
			host.Name += "/" + h.Domains[0]
		}
		m.IgnorePortInHostMatching = m.IgnorePortInHostMatching || !slices.Equal(h.Domains, []string{"*"})
		for _, i := range h.Routes {
			host.Routes = append(host.Routes, made[i])
			out.routeAt = append(out.routeAt, i)
		}
		m.VirtualHosts = append(m.VirtualHosts, host)
	}
	if _, err := check(RouteType, m.Name, m); err != nil {
		return nil, err
	}
	out.routes = m
	return out, nil
}

// routeAction returns the action that forwards to a route's upstreams, and
// their clusters.
func (o Options) routeAction(r definition.Route) (*routev3.RouteAction, []*Resource, error) {
	action := &routev3.RouteAction{PrefixRewrite: r.Rewrite}
	if r.Timeout != "" {
		timeout, err := time.ParseDuration(r.Timeout)
		if err != nil || timeout < 0 {
			return nil, nil, fmt.Errorf("timeout: %q is not a duration, like 15s", r.Timeout)
		}
		action.Timeout = durationpb.New(timeout)
	}
	if r.Retries != nil {
		action.RetryPolicy = &routev3.RetryPolicy{RetryOn: strings.Join(r.Retries.On, ","), NumRetries: wrapperspb.UInt32(r.Retries.Attempts)}
		if r.Retries.PerTry != "" {
			perTry, err := time.ParseDuration(r.Retries.PerTry)
			if err != nil || perTry <= 0 {
				return nil, nil, fmt.Errorf("retries.perTry: %q is not a duration, like 2s", r.Retries.PerTry)
			}
			action.RetryPolicy.PerTryTimeout = durationpb.New(perTry)
		}
	}
	clusters, err := o.upstreams(action, r.Upstreams)
	return action, clusters, err
}

// upstreams sets the clusters of action by the weights of the upstreams.
func (o Options) upstreams(action *routev3.RouteAction, upstreams []definition.Upstream) ([]*Resource, error) {
	var clusters []*Resource
	weighted := new(routev3.WeightedCluster)
	for _, u := range upstreams {
		c, host, err := o.upstream(u)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		clusters = append(clusters, c)
		w := &routev3.WeightedCluster_ClusterWeight{Name: c.Name, Weight: wrapperspb.UInt32(u.Weight)}
		if host != "" {
			// The host that is verified is also requested.
			w.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: host}
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
