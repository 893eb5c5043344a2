package definition

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition/internal/document"
)

// dangling reports filters that name a listener that does not exist.
func dangling(files []*File) []Problem {
	var listeners []string
	for _, t := range merged(files).targets() {
		listeners = append(listeners, t.Name)
	}
	slices.Sort(listeners)
	var problems []Problem
	for _, f := range files {
		for _, filter := range f.Filters {
			match := f.origins[filter].root.Get("attach").Get("match") != nil
			for i, m := range filter.Attach.Listeners {
				for j, name := range m.Names {
					if _, ok := slices.BinarySearch(listeners, name); ok {
						continue
					}
					path := document.Index("attach.listeners", j)
					if match {
						path = document.Index(document.Index("attach.match", i)+".listeners", j)
					}
					problems = append(problems, f.problem(filter, path, fmt.Sprintf("there is no listener %q", name), document.Suggest(name, listeners)))
				}
			}
		}
	}
	return problems
}

// bound is a listener with its address.
type bound struct {
	definition any
	name       string
	address    string
	nodes      Selector
	pos        Position
}

// collisions reports listeners that no node can have together, since they have
// the same address: Envoy rejects the second.
func collisions(files []*File) []Problem {
	var problems []Problem
	taken := map[string][]bound{}
	for _, f := range files {
		for _, b := range f.bounds() {
			i := slices.IndexFunc(taken[b.address], func(o bound) bool { return overlap(b.nodes, o.nodes) })
			if i < 0 {
				taken[b.address] = append(taken[b.address], b)
				continue
			}
			other := taken[b.address][i]
			problems = append(problems, f.problem(b.definition, "address",
				fmt.Sprintf("%s is taken by listener %q, in %v", b.address, other.name, other.pos),
				"give one of them another port or other nodes"))
		}
	}
	return problems
}

// overlap reports whether one selector is certain to match every node that the
// other matches.
func overlap(a, b Selector) bool { return covers(a, b) || covers(b, a) }

// covers reports whether a is certain to match every node that b matches.
func covers(a, b Selector) bool {
	same := func(a, b []string) bool { return len(a) == 0 || slices.Equal(a, b) }
	return same(a.IDs, b.IDs) && same(a.Clusters, b.Clusters) && within(a.Labels, b.Labels)
}

// bounds returns the listeners that are bound to a fixed port.
func (f *File) bounds() []bound {
	var found []bound
	for _, l := range f.Listeners {
		if l.Target().Port != 0 {
			found = append(found, bound{l, l.Name, l.Address, l.Nodes, l.Pos})
		}
	}
	for _, r := range f.Resources {
		l, ok := r.Message.(*listenerv3.Listener)
		if !ok || l.GetBindToPort() != nil && !l.GetBindToPort().GetValue() {
			continue
		}
		socket := l.GetAddress().GetSocketAddress()
		if socket.GetPortValue() != 0 && socket.GetProtocol() == corev3.SocketAddress_TCP {
			address := net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10))
			found = append(found, bound{r, r.Name, address, Selector{}, r.Pos})
		}
	}
	return found
}

// warnings reports what is probably, but not certainly, wrong.
func warnings(files []*File, set *Set) []Problem {
	var problems []Problem
	targets, slots, routes := set.targets(), set.inlineSlots(), set.routeNames()
	has := map[[2]string]bool{} // raw resources, by type URL and name
	for _, r := range set.Resources {
		has[[2]string{r.TypeURL, r.Name}] = true
	}
	for _, f := range files {
		for _, filter := range f.Filters {
			problems = append(problems, f.unrouted(filter, routes)...)
			problems = append(problems, f.callsNobody(filter, has)...)
			// Without any listeners here, they are in the Envoys' bootstrap.
			if len(targets) > 0 && len(filter.Attach.Listeners) > 0 && !slices.ContainsFunc(targets, filter.Attach.Matches) {
				problems = append(problems, f.problem(filter, "attach", "matches none of the listeners that are there", ""))
			}
		}
		for _, r := range f.Resources {
			problems = append(problems, f.misses(r, slots)...)
			for _, ref := range references(r) {
				if !has[[2]string{ref.of, ref.name}] {
					problems = append(problems, f.problem(r, ref.path, fmt.Sprintf("there is no %s %q", ref.what, ref.name), ref.hint))
				}
			}
		}
	}
	problems = append(problems, idleTests(files, set)...)
	for i := range problems {
		problems[i].Warning = true
	}
	return problems
}

// reference is a raw resource's reference to another.
type reference struct {
	of, name string // type URL and name of the other resource
	what     string // for people
	path     string // path of the reference
	hint     string
}

const inBootstrap = "right where the Envoys' bootstrap has it"

// endpointsOf returns the endpoints that a raw cluster gets over ADS, or false
// if it gets none over ADS.
func endpointsOf(r *Resource) (reference, bool) {
	c, ok := r.Message.(*clusterv3.Cluster)
	eds := c.GetEdsClusterConfig()
	if !ok || c.GetType() != clusterv3.Cluster_EDS || eds.GetEdsConfig().GetAds() == nil {
		return reference{}, false
	}
	name, path := eds.GetServiceName(), "eds_cluster_config.service_name"
	if name == "" {
		name, path = r.Name, "eds_cluster_config"
	}
	return reference{endpointsType, name, "ClusterLoadAssignment", path,
		"xds-server discovers no endpoints: write one of that name, or the endpoints in the cluster itself, with load_assignment and type: STRICT_DNS"}, true
}

// references returns the clusters that a raw resource's routes and scripts name, the route
// configurations that a raw listener gets over ADS, and the endpoints that a
// raw cluster gets over ADS.
func references(r *Resource) []reference {
	switch m := r.Message.(type) {
	case *clusterv3.Cluster:
		if endpoints, ok := endpointsOf(r); ok {
			return []reference{endpoints}
		}
	case *routev3.RouteConfiguration:
		return routeReferences(m, "")
	case *listenerv3.Listener:
		var found []reference
		for i, chain := range m.GetFilterChains() {
			for j, filter := range chain.GetFilters() {
				hcm := &hcmv3.HttpConnectionManager{}
				if filter.GetTypedConfig().UnmarshalTo(hcm) != nil {
					continue // another filter
				}
				at := document.Index(document.Index("filter_chains", i)+".filters", j) + ".typed_config."
				found = append(found, routeReferences(hcm.GetRouteConfig(), at+"route_config.")...)
				found = append(found, scriptReferences(hcm, at)...)
				if rds := hcm.GetRds(); rds.GetConfigSource().GetAds() != nil {
					found = append(found, reference{routeType, rds.GetRouteConfigName(), "route configuration", at + "rds.route_config_name", ""})
				}
			}
		}
		return found
	}
	return nil
}

func routeReferences(m *routev3.RouteConfiguration, at string) []reference {
	var found []reference
	for i, host := range m.GetVirtualHosts() {
		for j, route := range host.GetRoutes() {
			path := document.Index(at+document.Index("virtual_hosts", i)+".routes", j) + ".route."
			if name := route.GetRoute().GetCluster(); name != "" {
				found = append(found, reference{clusterType, name, "cluster", path + "cluster", inBootstrap})
			}
			for k, weighted := range route.GetRoute().GetWeightedClusters().GetClusters() {
				if name := weighted.GetName(); name != "" {
					found = append(found, reference{clusterType, name, "cluster", document.Index(path+"weighted_clusters.clusters", k) + ".name", inBootstrap})
				}
			}
		}
	}
	return found
}
