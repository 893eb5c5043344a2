package resource

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"wasmxds/definition"
)

// TestConvertedIsTheSame checks that a Listener that convert has written
// compiles to the same as the listener in the envoy.yaml. Both are compared in
// a canonical form: without fields at their defaults, with current fields in
// place of deprecated ones, and clusters by their content.
func TestConvertedIsTheSame(t *testing.T) {
	listeners := 0
	for _, name := range []string{"envoy.yaml", "full.yaml"} {
		data, err := os.ReadFile(filepath.Join("../definition/testdata/static", name))
		if err != nil {
			t.Fatal(err)
		}
		file, problems := definition.Parser{}.Parse(name, data)
		if file == nil {
			t.Fatal(problems)
		}
		written, err := definition.Convert(file)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := definition.Parser{}.Parse("again.yaml", written)
		if again == nil {
			t.Fatal(problems)
		}
		was := map[string]*clusterv3.Cluster{}
		for _, r := range file.Resources {
			if c, ok := r.Message.(*clusterv3.Cluster); ok {
				was[r.Name] = c
			}
		}
		for _, d := range again.Listeners {
			i := slices.IndexFunc(file.Resources, func(r *definition.Resource) bool {
				_, ok := r.Message.(*listenerv3.Listener)
				return ok && r.Name == d.Name
			})
			if i < 0 {
				continue // it is native in the file
			}
			l, err := Options{}.listener(d)
			if err != nil {
				t.Fatal(err)
			}
			is := map[string]*clusterv3.Cluster{}
			for _, c := range l.clusters {
				m := &clusterv3.Cluster{}
				if err := proto.Unmarshal(c.Value, m); err != nil {
					t.Fatal(err)
				}
				is[c.Name] = m
			}
			want := inOneForm(t, file.Resources[i].Message.(*listenerv3.Listener), nil, was)
			if got := inOneForm(t, l.message, l.routes, is); got != want {
				t.Errorf("%s: listener %s was\n%s\nand is\n%s", name, d.Name, want, got)
			}
			listeners++
		}
	}
	if listeners != 5 {
		t.Errorf("%d native listeners", listeners)
	}
}

// inOneForm returns text that is the same for equivalent listeners.
func inOneForm(t *testing.T, l *listenerv3.Listener, routes *routev3.RouteConfiguration, clusters map[string]*clusterv3.Cluster) string {
	t.Helper()
	unpack := func(from *anypb.Any, into proto.Message) {
		if err := from.UnmarshalTo(into); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	say := func(m proto.Message) { fmt.Fprintln(&b, prototext.Format(m)) }
	say(l.GetAddress())
	fmt.Fprintln(&b, l.GetTrafficDirection())
	chain := l.GetFilterChains()[0]
	if chain.GetTransportSocket() != nil {
		tls := &tlsv3.DownstreamTlsContext{}
		unpack(chain.GetTransportSocket().GetTypedConfig(), tls)
		common := tls.GetCommonTlsContext()
		fmt.Fprintln(&b, common.GetAlpnProtocols(), tls.GetRequireClientCertificate().GetValue(), common.GetValidationContextType() != nil)
	}
	config := chain.GetFilters()[0].GetTypedConfig()
	if config.MessageIs((*tcpv3.TcpProxy)(nil)) {
		tcp := &tcpv3.TcpProxy{}
		unpack(config, tcp)
		if tcp.GetCluster() != "" {
			say(clusterInOneForm(t, clusters[tcp.GetCluster()]))
		}
		for _, w := range tcp.GetWeightedClusters().GetClusters() {
			fmt.Fprintln(&b, w.GetWeight())
			say(clusterInOneForm(t, clusters[w.GetName()]))
		}
		return b.String()
	}
	hcm := &hcmv3.HttpConnectionManager{}
	unpack(config, hcm)
	if routes == nil {
		routes = hcm.GetRouteConfig()
	}
	for _, a := range hcm.AccessLog {
		a.Name = ""
		file := &filev3.FileAccessLog{}
		if a.GetTypedConfig().UnmarshalTo(file) == nil && file.GetPath() == "/dev/stdout" {
			if err := a.GetTypedConfig().MarshalFrom(&streamv3.StdoutAccessLog{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	hcm.StatPrefix, hcm.HttpFilters, hcm.RouteSpecifier = "", nil, nil
	say(hcm)
	hosts := map[string]string{}
	for _, h := range routes.GetVirtualHosts() {
		var text strings.Builder
		for _, r := range h.GetRoutes() {
			r = routeInOneForm(r)
			names := []string{r.GetRoute().GetCluster()}
			if names[0] != "" {
				r.GetRoute().ClusterSpecifier = nil
			}
			for _, w := range r.GetRoute().GetWeightedClusters().GetClusters() {
				names = append(names, w.GetName())
				w.Name = ""
			}
			fmt.Fprintln(&text, prototext.Format(r))
			for _, name := range names {
				if name != "" {
					fmt.Fprintln(&text, prototext.Format(clusterInOneForm(t, clusters[name])))
				}
			}
			if r.GetMatch().GetPrefix() == "/" && len(r.GetMatch().GetHeaders()) == 0 {
				break // no request reaches later routes
			}
		}
		for _, d := range h.GetDomains() {
			hosts[strings.ToLower(d)] = text.String()
		}
	}
	if _, all := hosts["*"]; !all || len(hosts) > 1 {
		fmt.Fprintln(&b, routes.GetIgnorePortInHostMatching())
	}
	for _, domain := range slices.Sorted(maps.Keys(hosts)) {
		fmt.Fprintln(&b, domain, hosts[domain])
	}
	return b.String()
}

func clusterInOneForm(t *testing.T, c *clusterv3.Cluster) *clusterv3.Cluster {
	t.Helper()
	if c == nil {
		t.Fatal("a route leads to no cluster")
	}
	c = proto.CloneOf(c)
	c.Name, c.ConnectTimeout = "", nil
	c.LoadAssignment.ClusterName = ""
	//lint:ignore SA1019 as many files still have it
	if c.Http2ProtocolOptions != nil {
		//lint:ignore SA1019 as many files still have it
		c.Http2ProtocolOptions = nil
		options, err := anypb.New(&httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
	}
	for _, h := range c.HealthChecks {
		if tcp := h.GetTcpHealthCheck(); tcp != nil { // it has no host name
			for _, e := range c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints() {
				e.GetEndpoint().HealthCheckConfig = nil
			}
		}
	}
	return c
}

func routeInOneForm(r *routev3.Route) *routev3.Route {
	r = proto.CloneOf(r)
	r.Match.CaseSensitive = nil
	for _, h := range r.Match.Headers {
		text := &matcherv3.StringMatcher{}
		switch is := h.HeaderMatchSpecifier.(type) {
		case nil:
			h.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
			continue
		case *routev3.HeaderMatcher_ExactMatch:
			//lint:ignore SA1019 as many files still have it
			text.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: is.ExactMatch}
		case *routev3.HeaderMatcher_PrefixMatch:
			//lint:ignore SA1019 as many files still have it
			text.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: is.PrefixMatch}
		case *routev3.HeaderMatcher_SafeRegexMatch:
			//lint:ignore SA1019 as many files still have it
			text.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: is.SafeRegexMatch}
		default:
			continue
		}
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: text}
	}
	if to := r.GetRedirect(); to.GetHttpsRedirect() {
		to.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: "https"}
	}
	if p := r.GetRoute().GetRetryPolicy(); p != nil {
		p.RetryOn = strings.ReplaceAll(p.RetryOn, " ", "")
		if p.NumRetries == nil {
			p.NumRetries = wrapperspb.UInt32(1)
		}
	}
	return r
}
