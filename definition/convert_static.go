package definition

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// staticConversion writes what a bootstrap has in the native kinds, where these
// say exactly the same, but for names in statistics and logs.
type staticConversion struct {
	file     *File
	clusters map[string]*clusterv3.Cluster
	filters  map[string]*Filter

	native   map[*Resource]*Listener // listeners
	attached map[*Filter]*Filter     // filters of these, as they are then
	why      map[*Resource]error     // a listener stays raw
	dropped  map[*Resource]bool      // clusters of native listeners alone
}

func convertStatic(f *File) *staticConversion {
	s := &staticConversion{
		file: f, clusters: map[string]*clusterv3.Cluster{}, filters: map[string]*Filter{},
		native: map[*Resource]*Listener{}, attached: map[*Filter]*Filter{}, why: map[*Resource]error{}, dropped: map[*Resource]bool{},
	}
	for _, r := range f.Resources {
		if c, ok := r.Message.(*clusterv3.Cluster); ok {
			s.clusters[r.Name] = c
		}
	}
	for _, filter := range f.Filters {
		s.filters[filter.Name] = filter
	}
	for _, r := range f.Resources {
		if l, ok := r.Message.(*listenerv3.Listener); ok && f.origins[r].within != "" {
			s.listener(r, l)
		}
	}
	for _, r := range f.Resources {
		if _, ok := r.Message.(*clusterv3.Cluster); ok && len(s.native) > 0 {
			s.dropped[r] = !s.needed(r)
		}
	}
	return s
}

// needed says whether a cluster has another use than the routes of listeners that
// are native now. Whatever has its name in it may use it.
func (s *staticConversion) needed(r *Resource) bool {
	used := false
	mentions := func(m proto.Message) bool {
		b, err := proto.Marshal(m)
		return err != nil || bytes.Contains(b, []byte(r.Name))
	}
	for _, other := range s.file.Resources {
		native := s.native[other]
		if native == nil && other != r && mentions(other.Message) {
			return true
		}
		used = used || native != nil && mentions(other.Message)
	}
	for _, f := range s.file.Filters {
		if f.Wasm != nil && mentions(f.Wasm) {
			return true
		}
	}
	return !used
}

func (s *staticConversion) listener(r *Resource, l *listenerv3.Listener) {
	made := &Listener{Name: r.Name, Pos: r.Pos}
	filters, err := s.fill(made, l)
	if err != nil {
		s.why[r] = err
		return
	}
	s.native[r] = made
	for i, f := range filters {
		attached := *f
		attached.Order, attached.Attach = i, Attach{Listeners: []ListenerMatch{{Direction: Any, Names: []string{r.Name}}}}
		s.attached[f] = &attached
	}
}

// fill makes a native listener of one of Envoy's, and gives its filters in their
// order; an error: it is none.
func (s *staticConversion) fill(made *Listener, l *listenerv3.Listener) ([]*Filter, error) {
	if err := only(l, "name", "address", "traffic_direction", "filter_chains"); err != nil {
		return nil, err
	}
	var err error
	if made.Address, err = nativeAddress(l.GetAddress()); err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddrPort(made.Address); err != nil {
		return nil, errors.New("a Listener listens at an IP address")
	}
	target, _ := (&Resource{Message: l}).Target()
	made.Direction = target.Direction
	if len(l.GetFilterChains()) != 1 {
		return nil, errors.New("a Listener has one filter chain")
	}
	chain := l.GetFilterChains()[0]
	if err := only(chain, "filters"); err != nil {
		return nil, err
	}
	hcm := &hcmv3.HttpConnectionManager{}
	if len(chain.GetFilters()) != 1 || chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(hcm) != nil {
		return nil, errors.New("a Listener has one network filter, the HTTP connection manager")
	}
	if err := only(hcm, "stat_prefix", "codec_type", "use_remote_address", "normalize_path", "route_config", "http_filters"); err != nil {
		return nil, err
	}
	if hcm.GetCodecType() != hcmv3.HttpConnectionManager_AUTO || !hcm.GetUseRemoteAddress().GetValue() || !hcm.GetNormalizePath().GetValue() {
		return nil, errors.New("a Listener has codec_type AUTO, use_remote_address and normalize_path")
	}
	if err := s.routes(made, hcm.GetRouteConfig()); err != nil {
		return nil, err
	}
	return s.httpFilters(hcm.GetHttpFilters())
}

func (s *staticConversion) httpFilters(list []*hcmv3.HttpFilter) ([]*Filter, error) {
	var filters []*Filter
	for i, h := range list {
		if i == len(list)-1 {
			router := &routerv3.Router{}
			if err := only(h, "name", "typed_config"); err != nil || h.GetTypedConfig().UnmarshalTo(router) != nil || !proto.Equal(router, &routerv3.Router{}) {
				return nil, errors.New("a Listener has a router without settings")
			}
			continue
		}
		f := s.filters[h.GetName()]
		if f == nil || only(h, "name", "config_discovery") != nil || slices.Contains(filters, f) {
			return nil, fmt.Errorf("a Listener has no HTTP filters but those that are attached to it, and no %s", h.GetName())
		}
		if err := exactly(f); err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func (s *staticConversion) routes(made *Listener, config *routev3.RouteConfiguration) error {
	if config == nil || only(config, "name", "virtual_hosts") != nil || len(config.GetVirtualHosts()) != 1 {
		return errors.New("a Listener has routes of one virtual host")
	}
	host := config.GetVirtualHosts()[0]
	if err := only(host, "name", "domains", "routes"); err != nil {
		return err
	}
	if !slices.Equal(host.GetDomains(), []string{"*"}) || len(host.GetRoutes()) == 0 {
		return errors.New("a Listener has routes for all domains")
	}
	for _, r := range host.GetRoutes() {
		route, err := s.route(r)
		if err != nil {
			return err
		}
		made.Routes = append(made.Routes, route)
	}
	return nil
}

func (s *staticConversion) route(r *routev3.Route) (Route, error) {
	made := Route{Prefix: r.GetMatch().GetPrefix()}
	action := r.GetRoute()
	if only(r, "match", "route") != nil || only(r.GetMatch(), "prefix") != nil || !strings.HasPrefix(made.Prefix, "/") {
		return made, errors.New("a Listener's routes are those of a path prefix to an upstream")
	}
	if err := only(action, "cluster", "weighted_clusters", "timeout"); err != nil {
		return made, err
	}
	if action.GetTimeout() != nil {
		if action.GetTimeout().CheckValid() != nil || action.GetTimeout().AsDuration() < 0 {
			return made, errors.New("a Listener's timeouts are from 0s")
		}
		made.Timeout = action.GetTimeout().AsDuration().String()
	}
	weighted := action.GetWeightedClusters()
	if weighted != nil {
		if err := only(weighted, "clusters"); err != nil {
			return made, err
		}
	}
	add := func(name string, weight uint32) error {
		address, err := s.upstream(name)
		made.Upstreams = append(made.Upstreams, Upstream{Address: address, Weight: weight})
		return err
	}
	if name := action.GetCluster(); name != "" {
		return made, add(name, 1)
	}
	for _, w := range weighted.GetClusters() {
		if err := only(w, "name", "weight"); err != nil {
			return made, err
		}
		if weight := w.GetWeight().GetValue(); weight < 1 || weight > maxWeight {
			return made, fmt.Errorf("a Listener's weights are from 1 to %d", maxWeight)
		}
		if err := add(w.GetName(), w.GetWeight().GetValue()); err != nil {
			return made, err
		}
	}
	if len(made.Upstreams) == 0 {
		return made, errors.New("a Listener's routes are those of a path prefix to an upstream")
	}
	return made, nil
}

// upstream gives the address of a cluster that is as the one that is made for an
// upstream of that address.
func (s *staticConversion) upstream(name string) (string, error) {
	c := s.clusters[name]
	if c == nil {
		return "", fmt.Errorf("the cluster %s is not in the file", name)
	}
	load := c.GetLoadAssignment()
	if err := only(c, "name", "type", "connect_timeout", "load_assignment", "dns_lookup_family"); err != nil {
		return "", fmt.Errorf("cluster %s: %w", name, err)
	}
	if len(load.GetEndpoints()) != 1 || len(load.GetEndpoints()[0].GetLbEndpoints()) != 1 || only(load, "cluster_name", "endpoints") != nil ||
		only(load.GetEndpoints()[0], "lb_endpoints") != nil {
		return "", fmt.Errorf("cluster %s: an upstream is one host", name)
	}
	endpoint := load.GetEndpoints()[0].GetLbEndpoints()[0]
	if only(endpoint, "endpoint") != nil || only(endpoint.GetEndpoint(), "address") != nil {
		return "", fmt.Errorf("cluster %s: an upstream has no settings of its endpoint", name)
	}
	address, err := nativeAddress(endpoint.GetEndpoint().GetAddress())
	if err != nil {
		return "", fmt.Errorf("cluster %s: %w", name, err)
	}
	if t := c.GetConnectTimeout(); t != nil && t.AsDuration() != connectTimeout {
		return "", fmt.Errorf("cluster %s: an upstream has the connect_timeout %v", name, connectTimeout)
	}
	_, badIP := netip.ParseAddrPort(address)
	switch {
	case endpoint.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue() == 0:
		return "", fmt.Errorf("cluster %s: an upstream has a port", name)
	case badIP == nil && c.GetType() == clusterv3.Cluster_STATIC:
	case badIP != nil && c.GetType() == clusterv3.Cluster_STRICT_DNS && c.GetDnsLookupFamily() == clusterv3.Cluster_V4_PREFERRED:
	default:
		return "", fmt.Errorf("cluster %s: an upstream is STATIC, or a name with STRICT_DNS and V4_PREFERRED", name)
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		n, _ := strconv.ParseUint(port, 10, 16) // it was made of a number
		for other := range s.clusters {
			if other == ClusterName(host, uint32(n), false) {
				return "", fmt.Errorf("another cluster is called %s", other)
			}
		}
	}
	return address, nil
}

const connectTimeout = 5 * time.Second // that Envoy has by default

// only says which field of a message is set that is none of these.
func only(m proto.Message, fields ...string) error {
	other := ""
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := fd.TextName(); !slices.Contains(fields, name) && (other == "" || name < other) {
			other = name // fields come in no order
		}
		return true
	})
	if other != "" {
		return fmt.Errorf("the native kinds have no word for %s", other)
	}
	return nil
}

// nativeAddress is a socket address as host:port.
func nativeAddress(a *corev3.Address) (string, error) {
	socket := a.GetSocketAddress()
	if socket == nil || only(socket, "address", "port_value") != nil || socket.GetAddress() == "" {
		return "", errors.New("a Listener has addresses of a host and a port")
	}
	return net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10)), nil
}

// exactly says why a filter that is written as Envoy's message is not the same as
// a WasmFilter; its plugin's name aside, which that gives it itself.
func exactly(f *Filter) error {
	if err := expressible(f); err != nil {
		return err
	}
	plugin := f.Wasm.GetConfig()
	vm := plugin.GetVmConfig()
	for _, m := range []struct {
		message proto.Message
		fields  []string
	}{
		{f.Wasm, []string{"config"}},
		{plugin, []string{"name", "root_id", "vm_config", "configuration", "fail_open", "failure_policy", "capability_restriction_config"}},
		{vm, []string{"vm_id", "runtime", "code", "configuration", "environment_variables", "capability_restriction_config", "nack_on_code_cache_miss"}},
	} {
		if err := only(m.message, m.fields...); err != nil {
			return err
		}
	}
	//lint:ignore SA1019 what Envoy 1.36 reads
	own, ofVM := plugin.GetCapabilityRestrictionConfig(), vm.GetCapabilityRestrictionConfig()
	switch {
	case f.OnFailure == Reload:
		return errors.New("a WasmFilter that reloads has a back-off of its own")
	case own != nil && ofVM != nil && !proto.Equal(own, ofVM):
		return errors.New("a WasmFilter has one capability_restriction_config")
	}
	return nil
}
