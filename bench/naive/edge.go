package naive

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Edge is an Envoy with one listener, "web", that passes all requests through
// its filters to one upstream.
type Edge struct {
	Listen   string // host:port of the listener
	Upstream string // host:port
	Filters  []Filter
}

// Filter is a Wasm filter whose module Envoy fetches.
type Filter struct {
	Name   string
	URL    string // http://host:port/path
	SHA256 string
	Config string
}

// Resources gives what the Envoy needs: clusters, the listener with a slot for
// each filter, and the filters.
func (e Edge) Resources() (Resources, error) {
	upstream, err := cluster("upstream", e.Upstream)
	if err != nil {
		return nil, err
	}
	clusters := map[string]*clusterv3.Cluster{"upstream": upstream}
	var filters []types.Resource
	var slots []*hcmv3.HttpFilter
	for _, f := range e.Filters {
		u, err := url.Parse(f.URL)
		if err != nil {
			return nil, fmt.Errorf("filter %q: %w", f.Name, err)
		}
		if clusters[u.Host], err = cluster(u.Host, u.Host); err != nil {
			return nil, fmt.Errorf("filter %q: %w", f.Name, err)
		}
		config, err := anypb.New(f.wasm(u.Host))
		if err != nil {
			return nil, err
		}
		filters = append(filters, &corev3.TypedExtensionConfig{Name: f.Name, TypedConfig: config})
		slots = append(slots, &hcmv3.HttpFilter{Name: f.Name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{
			ConfigDiscovery: &corev3.ExtensionConfigSource{
				ConfigSource: &corev3.ConfigSource{
					ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
					ResourceApiVersion:    corev3.ApiVersion_V3,
				},
				TypeUrls: []string{config.TypeUrl},
			}}})
	}
	listener, err := e.listener(slots)
	if err != nil {
		return nil, err
	}
	r := Resources{resourcev3.ListenerType: {listener}, resourcev3.ExtensionConfigType: filters}
	for _, c := range clusters {
		r[resourcev3.ClusterType] = append(r[resourcev3.ClusterType], c)
	}
	return r, nil
}

func (f Filter) wasm(cluster string) *httpwasmv3.Wasm {
	config, err := anypb.New(wrapperspb.String(f.Config))
	if err != nil {
		panic(err) // a string that is not UTF-8
	}
	return &httpwasmv3.Wasm{Config: &wasmv3.PluginConfig{
		Name:          f.Name,
		RootId:        f.Name,
		Configuration: config,
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			VmId:    f.Name,
			Runtime: "envoy.wasm.runtime.v8",
			Code: &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Remote{Remote: &corev3.RemoteDataSource{
				HttpUri: &corev3.HttpUri{
					Uri:              f.URL,
					HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: cluster},
					Timeout:          durationpb.New(10 * time.Second),
				},
				Sha256: f.SHA256,
			}}},
		}},
	}}
}

func (e Edge) listener(slots []*hcmv3.HttpFilter) (*listenerv3.Listener, error) {
	router, err := anypb.New(&routerv3.Router{})
	if err != nil {
		return nil, err
	}
	hcm, err := anypb.New(&hcmv3.HttpConnectionManager{
		StatPrefix: "web",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "upstream"}}},
			}}}},
		}},
		HttpFilters: append(slots, &hcmv3.HttpFilter{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}}),
	})
	if err != nil {
		return nil, err
	}
	at, err := address(e.Listen)
	return &listenerv3.Listener{
		Name:    "web",
		Address: at,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "http", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: hcm}}}}},
	}, err
}

func cluster(name, at string) (*clusterv3.Cluster, error) {
	a, err := address(at)
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: a}}}}}}},
	}, err
}

func address(at string) (*corev3.Address, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)}}}}, err
}
