package definition

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

const connectTimeout = 5 * time.Second // Envoy's default

func (s *staticConversion) addUpstream(list *[]Upstream, cluster string, weight uint32) error {
	if weight < 1 || weight > maxWeight {
		return fmt.Errorf("a Listener's weights are from 1 to %d", maxWeight)
	}
	u, err := s.upstream(cluster)
	if err != nil {
		return err
	}
	u.Weight = weight
	*list = append(*list, u)
	return nil
}

// upstream returns the upstream for which xds-server would make the same
// cluster.
func (s *staticConversion) upstream(name string) (Upstream, error) {
	c := s.clusters[name]
	if c == nil {
		return Upstream{}, fmt.Errorf("the cluster %s is not in the file", name)
	}
	u, err := nativeUpstream(c)
	if err != nil {
		return u, fmt.Errorf("cluster %s: %w", name, err)
	}
	if s.clusters[u.ClusterName()] != nil {
		return u, fmt.Errorf("another cluster is called %s", u.ClusterName())
	}
	return u, nil
}

func nativeUpstream(c *clusterv3.Cluster) (Upstream, error) {
	var u Upstream
	if err := only(c, "name", "type", "connect_timeout", "load_assignment", "dns_lookup_family",
		"typed_extension_protocol_options", "http2_protocol_options", "health_checks"); err != nil {
		return u, err
	}
	if t := c.GetConnectTimeout(); t != nil && t.AsDuration() != connectTimeout {
		return u, fmt.Errorf("an upstream has the connect_timeout %v", connectTimeout)
	}
	load := c.GetLoadAssignment()
	if len(load.GetEndpoints()) != 1 || len(load.GetEndpoints()[0].GetLbEndpoints()) == 0 || only(load, "cluster_name", "endpoints") != nil ||
		only(load.GetEndpoints()[0], "lb_endpoints") != nil {
		return u, errors.New("an upstream has hosts of one locality")
	}
	ends := load.GetEndpoints()[0].GetLbEndpoints()
	named := false
	for _, e := range ends {
		if only(e, "endpoint") != nil || only(e.GetEndpoint(), "address", "health_check_config") != nil {
			return u, errors.New("an upstream has no settings of its endpoints")
		}
		address, err := nativeAddress(e.GetEndpoint().GetAddress())
		if err != nil {
			return u, err
		}
		if e.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue() == 0 {
			return u, errors.New("an upstream has a port")
		}
		_, notIP := netip.ParseAddrPort(address)
		named = named || notIP != nil
		u.Endpoints = append(u.Endpoints, address)
	}
	if len(u.Endpoints) == 1 {
		u.Address, u.Endpoints = u.Endpoints[0], nil
	}
	switch {
	case !named && c.GetType() == clusterv3.Cluster_STATIC:
	case named && c.GetType() == clusterv3.Cluster_STRICT_DNS && c.GetDnsLookupFamily() == clusterv3.Cluster_V4_PREFERRED:
	default:
		return u, errors.New("an upstream is STATIC, or a name with STRICT_DNS and V4_PREFERRED")
	}
	var err error
	if u.Protocol, err = nativeProtocol(c); err != nil {
		return u, err
	}
	u.HealthCheck, err = nativeCheck(c, u, ends)
	return u, err
}

// nativeProtocol returns the protocol of a cluster.
func nativeProtocol(c *clusterv3.Cluster) (Protocol, error) {
	//lint:ignore SA1019 as many files still have it
	if old := c.GetHttp2ProtocolOptions(); old != nil {
		if !proto.Equal(old, &corev3.Http2ProtocolOptions{}) || len(c.GetTypedExtensionProtocolOptions()) > 0 {
			return HTTP1, errors.New("an upstream has no settings of HTTP/2")
		}
		return HTTP2, nil
	}
	if len(c.GetTypedExtensionProtocolOptions()) == 0 {
		return HTTP1, nil
	}
	options := &httpv3.HttpProtocolOptions{}
	var written *anypb.Any
	for key, value := range c.GetTypedExtensionProtocolOptions() {
		if key == "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" {
			written = value
		}
	}
	http2 := &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
		},
	}}
	if len(c.GetTypedExtensionProtocolOptions()) != 1 || written.UnmarshalTo(options) != nil || !proto.Equal(options, http2) {
		return HTTP1, errors.New("an upstream speaks HTTP/1.1, or HTTP/2 without settings")
	}
	return HTTP2, nil
}

// nativeCheck returns the health check of a cluster, if an upstream can express
// it.
func nativeCheck(c *clusterv3.Cluster, u Upstream, ends []*endpointv3.LbEndpoint) (*HealthCheck, error) {
	for i, e := range ends {
		config := e.GetEndpoint().GetHealthCheckConfig()
		if config != nil && (only(config, "hostname") != nil || len(c.GetHealthChecks()) == 0 || config.GetHostname() != u.All()[i]) {
			return nil, errors.New("an upstream asks each endpoint by its address")
		}
	}
	switch len(c.GetHealthChecks()) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, errors.New("an upstream has one health check")
	}
	h := c.GetHealthChecks()[0]
	if err := only(h, "timeout", "interval", "unhealthy_threshold", "healthy_threshold", "no_traffic_interval", "tcp_health_check", "http_health_check", "grpc_health_check"); err != nil {
		return nil, err
	}
	made := &HealthCheck{
		By: CheckTCP, Interval: h.GetInterval().AsDuration(), Timeout: h.GetTimeout().AsDuration(),
		Unhealthy: h.GetUnhealthyThreshold().GetValue(), Healthy: h.GetHealthyThreshold().GetValue(),
	}
	if h.GetNoTrafficInterval() == nil || h.GetNoTrafficInterval().AsDuration() != made.Interval {
		return nil, errors.New("an upstream is checked as often without traffic (no_traffic_interval)")
	}
	byName := !slices.ContainsFunc(ends, func(e *endpointv3.LbEndpoint) bool { return e.GetEndpoint().GetHealthCheckConfig().GetHostname() == "" })
	switch by := h.GetHealthChecker().(type) {
	case *corev3.HealthCheck_TcpHealthCheck_:
		if !proto.Equal(by.TcpHealthCheck, &corev3.HealthCheck_TcpHealthCheck{}) {
			return nil, errors.New("an upstream's health check by TCP sends nothing")
		}
		return made, nil
	case *corev3.HealthCheck_HttpHealthCheck_:
		made.By, made.Of = CheckHTTP, by.HttpHealthCheck.GetPath()
		codec := typev3.CodecClientType_HTTP1
		if u.Protocol == HTTP2 {
			codec = typev3.CodecClientType_HTTP2
		}
		if err := only(by.HttpHealthCheck, "path", "codec_client_type"); err != nil {
			return nil, err
		}
		if by.HttpHealthCheck.GetCodecClientType() != codec {
			return nil, errors.New("an upstream's health check speaks what the upstream does")
		}
	case *corev3.HealthCheck_GrpcHealthCheck_:
		made.By, made.Of = CheckGRPC, by.GrpcHealthCheck.GetServiceName()
		if err := only(by.GrpcHealthCheck, "service_name"); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("an upstream is checked by TCP, HTTP or gRPC")
	}
	if !byName {
		return nil, errors.New("an upstream's health check asks each endpoint by its address (health_check_config.hostname)")
	}
	return made, nil
}
