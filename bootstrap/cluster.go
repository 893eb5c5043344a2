package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// How soon an Envoy notices that xds-server, or the way there, is gone.
const (
	connectTimeout    = 5 * time.Second
	keepaliveInterval = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
)

// address is host:port, taken apart.
type address struct {
	host string
	port uint32
}

// parseAddress reads host:port; what says whose it is, for errors. A port of 0
// leaves the choice to Envoy.
func parseAddress(what, text string) (address, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return address{}, fmt.Errorf("%s %q is not host:port", what, text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("%s %q has no port from 0 to 65535", what, text)
	}
	return address{host, uint32(port)}, nil
}

func (a address) isIP() bool {
	_, err := netip.ParseAddr(a.host)
	return err == nil
}

func (a address) proto() *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: a.port},
	}}}
}

// cluster is one of a single endpoint. A host name is resolved by Envoy, again
// and again.
func cluster(name string, at address) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: at.proto()}},
			}}}},
		},
	}
	if !at.isIP() {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		// Both families, tried one after the other: "localhost" is often ::1 as
		// well, with nobody there.
		c.DnsLookupFamily = clusterv3.Cluster_ALL
	}
	return c
}

// xdsCluster is the way to xds-server's resources.
func (o Options) xdsCluster() (*clusterv3.Cluster, error) {
	if o.XDSAddress == "" {
		return nil, errors.New("an Envoy needs the address of xds-server")
	}
	at, err := parseAddress("the xDS address", o.XDSAddress)
	if err != nil {
		return nil, err
	}
	c := cluster(XDSCluster, at)
	http2, err := pack(&upstreamsv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
						// A stream is silent for hours; a path that died is
						// found out only by asking.
						ConnectionKeepalive: &corev3.KeepaliveSettings{
							Interval: durationpb.New(keepaliveInterval),
							Timeout:  durationpb.New(keepaliveTimeout),
						},
					},
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2}
	c.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{
		TcpKeepalive: &corev3.TcpKeepalive{KeepaliveTime: wrapperspb.UInt32(uint32(keepaliveInterval.Seconds()))},
	}
	if o.TLS != nil {
		if c.TransportSocket, err = o.TLS.socket(at, "h2"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// modulesCluster is the way to xds-server's modules; see [Options.ModulesURL].
func (o Options) modulesCluster() (*clusterv3.Cluster, error) {
	if o.ModulesURL == "" {
		return nil, errors.New("an Envoy with static listeners needs the URL of xds-server's modules")
	}
	u, err := url.Parse(o.ModulesURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the modules URL %q is not http://host:port or https://host:port", o.ModulesURL)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	at, err := parseAddress("the modules URL", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	c := cluster(ModulesCluster, at)
	if !at.isIP() {
		// A stream that fails at one address is opened again at the next; a
		// download would be lost.
		c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	}
	if u.Scheme == "https" {
		if o.TLS == nil {
			return nil, errors.New("the modules URL is https, which needs a CA to know xds-server by")
		}
		if c.TransportSocket, err = o.TLS.socket(at, "http/1.1"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func pack(m proto.Message) (*anypb.Any, error) {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return a, nil
}
