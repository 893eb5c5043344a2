package resource

import (
	"cmp"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"wasmxds/definition"
)

// upstream returns the cluster of an upstream and the host to send in requests.
// If the host is "", requests keep that of the client.
func (o Options) upstream(u definition.Upstream) (*Resource, string, error) {
	var ends []endpoint
	for _, address := range u.All() {
		end, err := parseEndpoint(address, u.TLS)
		if err != nil {
			return nil, "", err
		}
		ends = append(ends, end)
	}
	asked := ends[0]
	asked.host = cmp.Or(u.ServerName, asked.host)
	host := ""
	if asked.tls && !asked.isIP() {
		host = asked.host
	}
	if len(ends) == 1 && u.Protocol == definition.HTTP1 && u.ServerName == "" && u.HealthCheck == nil {
		c, err := o.cluster(asked.name(), asked)
		return c, host, err
	}
	c, err := o.upstreamCluster(u, ends, asked)
	return c, host, err
}

// upstreamCluster returns the cluster of an upstream that has more than an
// address.
func (o Options) upstreamCluster(u definition.Upstream, ends []endpoint, asked endpoint) (*Resource, error) {
	name := u.ClusterName()
	c, err := o.clusterOf(name, ends, asked)
	if err != nil {
		return nil, err
	}
	if u.Protocol == definition.HTTP2 {
		options, err := pack(&httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: new(corev3.Http2ProtocolOptions)},
			},
		}})
		if err != nil {
			return nil, err
		}
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
	}
	if h := u.HealthCheck; h != nil {
		c.HealthChecks = []*corev3.HealthCheck{healthCheck(h, u.Protocol)}
		// The host in health checks. By default, it is the cluster's name.
		for i, e := range c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints() {
			e.GetEndpoint().HealthCheckConfig = &endpointv3.Endpoint_HealthCheckConfig{Hostname: cmp.Or(u.ServerName, u.All()[i])}
		}
	}
	r, err := check(ClusterType, name, c)
	if err != nil {
		return nil, err
	}
	m := meaningOf("cluster").text("upstream", name)
	if u.TLS {
		m.text("trustedCA", o.TrustedCA)
	}
	return r.withVersion(m), nil
}

func healthCheck(h *definition.HealthCheck, protocol definition.Protocol) *corev3.HealthCheck {
	m := &corev3.HealthCheck{
		Interval: durationpb.New(h.Interval), Timeout: durationpb.New(h.Timeout),
		UnhealthyThreshold: wrapperspb.UInt32(h.Unhealthy), HealthyThreshold: wrapperspb.UInt32(h.Healthy),
		// By default, Envoy checks once a minute before the first request.
		NoTrafficInterval: durationpb.New(h.Interval),
	}
	switch h.By {
	case definition.CheckHTTP:
		codec := typev3.CodecClientType_HTTP1
		if protocol == definition.HTTP2 {
			codec = typev3.CodecClientType_HTTP2
		}
		m.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: &corev3.HealthCheck_HttpHealthCheck{Path: h.Of, CodecClientType: codec}}
	case definition.CheckGRPC:
		m.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{ServiceName: h.Of}}
	default:
		m.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: new(corev3.HealthCheck_TcpHealthCheck)}
	}
	return m
}
