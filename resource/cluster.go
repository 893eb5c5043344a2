package resource

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"wasmxds/definition"
)

// endpoint is a host that Envoy connects to.
type endpoint struct {
	host string // host name or IP address
	port uint32
	tls  bool
}

// name returns the name of the endpoint's cluster, which is the same wherever
// the endpoint is used.
func (e endpoint) name() string { return definition.ClusterName(e.host, e.port, e.tls) }

func (e endpoint) isIP() bool {
	_, err := netip.ParseAddr(e.host)
	return err == nil
}

// parseEndpoint parses host:port.
func parseEndpoint(address string, tls bool) (endpoint, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not host:port: %w", address, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return endpoint{}, fmt.Errorf("%q has no port from 1 to 65535", address)
	}
	if host == "" {
		return endpoint{}, fmt.Errorf("%q has no host", address)
	}
	return endpoint{host, uint32(port), tls}, nil
}

// endpointOf returns the host of an http or https URL.
func endpointOf(u *url.URL) (endpoint, error) {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return parseEndpoint(net.JoinHostPort(u.Hostname(), port), u.Scheme == "https")
}

// cluster returns a cluster with one endpoint.
func (o Options) cluster(name string, e endpoint) (*Resource, error) {
	c, err := o.clusterOf(name, []endpoint{e}, e)
	if err != nil {
		return nil, err
	}
	r, err := check(ClusterType, name, c)
	if err != nil {
		return nil, err
	}
	m := meaningOf("cluster").text("host", e.host).number("port", int(e.port))
	if e.tls {
		m.text("trustedCA", o.TrustedCA)
	}
	return r.withVersion(m), nil
}

// clusterOf returns a cluster with several endpoints. If asked uses TLS, so do
// all endpoints, with the server name of asked.
func (o Options) clusterOf(name string, ends []endpoint, asked endpoint) (*clusterv3.Cluster, error) {
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
	}
	locality := new(endpointv3.LocalityLbEndpoints)
	for _, e := range ends {
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: socketAddress(e.host, e.port)},
			},
		})
		if !e.isIP() {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
			// Prefer IPv4. Here, every address is an endpoint of its own, and
			// "localhost" often also resolves to ::1, where nothing listens:
			// with ALL some requests would fail, with AUTO all of them.
			c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
		}
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{locality}}
	if asked.tls {
		config, err := pack(o.upstreamTLS(asked))
		if err != nil {
			return nil, err
		}
		c.TransportSocket = &corev3.TransportSocket{
			Name:       "envoy.transport_sockets.tls",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
		}
	}
	return c, nil
}

// upstreamTLS returns a TLS context that requests the endpoint by name and
// accepts only its certificate.
func (o Options) upstreamTLS(e endpoint) *tlsv3.UpstreamTlsContext {
	san, sni := tlsv3.SubjectAltNameMatcher_DNS, e.host
	if e.isIP() {
		san, sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, "" // RFC 6066: no addresses in SNI
	}
	return &tlsv3.UpstreamTlsContext{
		Sni: sni,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
				ValidationContext: &tlsv3.CertificateValidationContext{
					TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: o.TrustedCA}},
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
						SanType: san,
						Matcher: &matcherv3.StringMatcher{
							MatchPattern: &matcherv3.StringMatcher_Exact{Exact: e.host},
						},
					}},
				},
			},
		},
	}
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// modules makes the cluster of the module server.
func (c *Catalog) modules() []definition.Problem {
	u, err := url.Parse(c.opts.ModulesURL)
	if err == nil && u.Scheme != "http" && u.Scheme != "https" {
		err = fmt.Errorf("%q is not an http:// or https:// URL", c.opts.ModulesURL)
	}
	var end endpoint
	if err == nil {
		end, err = endpointOf(u)
	}
	if err == nil {
		c.moduleServer, err = c.opts.cluster(c.opts.ModulesCluster, end)
	}
	if err != nil {
		return []definition.Problem{problem(definition.Position{}, "modules-url", "%v", err)}
	}
	return nil
}
