package resource

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"wasmxds/definition"
)

const (
	tcpProxyType = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
	tcpProxyName = "envoy.filters.network.tcp_proxy"
)

// tcpListener compiles a native listener that forwards connections. It has
// spare slots for network filters from the start, since no other filters can be
// added to it.
func (o Options) tcpListener(d *definition.Listener, address *corev3.Address) (*listener, error) {
	proxy := &tcpv3.TcpProxy{StatPrefix: d.Name}
	weighted := new(tcpv3.TcpProxy_WeightedCluster)
	var clusters []*Resource
	for _, u := range d.TCP.Upstreams {
		c, _, err := o.upstream(u)
		if err != nil {
			return nil, fmt.Errorf("tcp.upstream: %w", err)
		}
		clusters = append(clusters, c)
		weighted.Clusters = append(weighted.Clusters, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{Name: c.Name, Weight: u.Weight})
	}
	switch len(clusters) {
	case 0:
		return nil, fmt.Errorf("tcp.upstream: none")
	case 1:
		proxy.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: clusters[0].Name}
	default:
		proxy.ClusterSpecifier = &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	}
	if err := proxy.ValidateAll(); err != nil {
		return nil, fmt.Errorf("tcp is not valid for Envoy: %w", err)
	}
	config, err := pack(proxy)
	if err != nil {
		return nil, err
	}
	to := &listenerv3.Filter{Name: tcpProxyName, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: config}}
	l, err := o.nativeListener(d, address, to, tcpListenerMeaning(d))
	if err != nil {
		return nil, err
	}
	l.clusters, l.spares = clusters, true
	return l, nil
}

// tcpListenerMeaning returns the meaning of a native TCP listener without slots
// for filters.
func tcpListenerMeaning(d *definition.Listener) *meaning {
	m := meaningOf("tcp listener").text("address", d.Address).direction(d.Direction).tls(d.TLS)
	for _, u := range d.TCP.Upstreams {
		m.text("cluster", u.ClusterName()).number("weight", int(u.Weight))
	}
	return m
}
