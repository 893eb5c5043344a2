package bootstrap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// How soon an Envoy notices that it has lost the connection to xds-server.
const (
	connectTimeout    = 5 * time.Second
	keepaliveInterval = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
)

// The same if there are other replicas. Each Envoy pings only its own replica,
// so a replica with 3,000 Envoys gets 300 pings a second; with active health
// checks, each Envoy would query all replicas.
const (
	replicaConnectTimeout    = 2 * time.Second
	replicaKeepaliveInterval = 10 * time.Second
	replicaKeepaliveTimeout  = 5 * time.Second
)

// How long an Envoy avoids a replica that has failed: doubled, tripled, … up to
// the last value if it keeps failing.
const (
	firstEjection = 5 * time.Second
	lastEjection  = 30 * time.Second
)

// address is a parsed host:port.
type address struct {
	host string
	port uint32
}

// parseAddress parses host:port. The parameter what describes the address in
// errors. With port 0, Envoy chooses the port.
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

// replicas splits a comma-separated list of replicas.
func replicas(text string) []string {
	all := strings.Split(text, ",")
	for i, one := range all {
		all[i] = strings.TrimSpace(one)
	}
	return all
}

// parseAddresses parses host:port of each replica.
func parseAddresses(what string, texts []string) ([]address, error) {
	var all []address
	for _, text := range texts {
		at, err := parseAddress(what, text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, at) {
			return nil, fmt.Errorf("%s %q is there twice", what, text)
		}
		all = append(all, at)
	}
	return all, nil
}

func areIPs(all []address) bool {
	return !slices.ContainsFunc(all, func(a address) bool { return !a.isIP() })
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

// cluster returns a cluster of the replicas of xds-server. Envoy resolves host
// names periodically.
func cluster(name string, at []address) *clusterv3.Cluster {
	endpoints := &endpointv3.LocalityLbEndpoints{}
	for _, a := range at {
		endpoints.LbEndpoints = append(endpoints.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: a.proto()}},
		})
	}
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{endpoints}},
	}
	if !areIPs(at) {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		// Try both families, one after the other: "localhost" often also
		// resolves to ::1, where nothing listens.
		c.DnsLookupFamily = clusterv3.Cluster_ALL
	}
	if len(at) > 1 {
		leaveTheDead(c)
	}
	return c
}

// leaveTheDead makes an Envoy try the other replicas after one has failed. If
// all have failed, it tries any.
func leaveTheDead(c *clusterv3.Cluster) {
	c.ConnectTimeout = durationpb.New(replicaConnectTimeout)
	c.OutlierDetection = &clusterv3.OutlierDetection{
		SplitExternalLocalOriginErrors: true,
		ConsecutiveLocalOriginFailure:  wrapperspb.UInt32(1), // no connection, or a broken one
		Consecutive_5Xx:                wrapperspb.UInt32(1),
		Interval:                       durationpb.New(time.Second),
		BaseEjectionTime:               durationpb.New(firstEjection),
		MaxEjectionTime:                durationpb.New(lastEjection),
		MaxEjectionPercent:             wrapperspb.UInt32(100),
		// The few requests of one Envoy do not show which replica is slow or
		// fails sometimes.
		EnforcingSuccessRate:            wrapperspb.UInt32(0),
		EnforcingLocalOriginSuccessRate: wrapperspb.UInt32(0),
	}
	// With Envoy's default of 50 %, two dead replicas of three would be tried
	// again and again.
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 1}}
}

// xdsCluster returns the cluster of xds-server's resources.
func (o Options) xdsCluster() (*clusterv3.Cluster, error) {
	if o.XDSAddress == "" {
		return nil, errors.New("an Envoy needs the address of xds-server")
	}
	at, err := parseAddresses("the xDS address", replicas(o.XDSAddress))
	if err != nil {
		return nil, err
	}
	c := cluster(XDSCluster, o.inOrder(at))
	ping, pong := keepaliveInterval, keepaliveTimeout
	if len(at) > 1 {
		ping, pong = replicaKeepaliveInterval, replicaKeepaliveTimeout
	}
	http2, err := pack(&upstreamsv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
						// A stream is silent for hours, so only a ping detects
						// a broken connection.
						ConnectionKeepalive: &corev3.KeepaliveSettings{
							Interval: durationpb.New(ping),
							Timeout:  durationpb.New(pong),
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

// inOrder returns the addresses of replicas in an order that depends on the
// Envoy. Envoy tries them in turn, so with one common order all Envoys of a
// replica that stops would move to the same one.
func (o Options) inOrder(at []address) []address {
	place := func(a address) []byte {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s:%d", o.Node.ID, a.host, a.port))
		return sum[:]
	}
	return slices.SortedFunc(slices.Values(at), func(a, b address) int { return bytes.Compare(place(a), place(b)) })
}

// modulesCluster returns the cluster of xds-server's modules; see
// [Options.ModulesURL].
func (o Options) modulesCluster() (*clusterv3.Cluster, error) {
	if o.ModulesURL == "" {
		return nil, errors.New("an Envoy with static listeners needs the URL of xds-server's modules")
	}
	scheme, at, err := parseURLs(o.ModulesURL)
	if err != nil {
		return nil, err
	}
	c := cluster(ModulesCluster, at)
	if !areIPs(at) {
		// A stream that fails at one address is reopened at the next, but a
		// download would fail.
		c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	}
	if scheme == "https" {
		if o.TLS == nil {
			return nil, errors.New("the modules URL is https, which needs a CA to know xds-server by")
		}
		if c.TransportSocket, err = o.TLS.socket(at, "http/1.1"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// parseURLs parses the URL of xds-server's modules, or a comma-separated list
// for several replicas.
func parseURLs(text string) (scheme string, at []address, err error) {
	var addresses []string
	for _, one := range replicas(text) {
		u, err := url.Parse(one)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", nil, fmt.Errorf("the modules URL %q is not http://host:port or https://host:port", one)
		}
		if scheme != "" && u.Scheme != scheme {
			return "", nil, fmt.Errorf("the modules URL %q does not begin with %s: as that of another replica does", one, scheme)
		}
		scheme = u.Scheme
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[scheme]
		}
		addresses = append(addresses, net.JoinHostPort(u.Hostname(), port))
	}
	at, err = parseAddresses("the modules URL", addresses)
	return scheme, at, err
}

func pack(m proto.Message) (*anypb.Any, error) {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return a, nil
}
