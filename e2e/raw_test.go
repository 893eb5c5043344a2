package e2e

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// raw is a listener with everything found by discovery: its route
// configuration, its cluster, and the cluster's endpoints.
const raw = `"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: up
type: EDS
connect_timeout: CONNECT
eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}, service_name: up-endpoints}
---
"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
cluster_name: up-endpoints
endpoints:
- lb_endpoints:
  - endpoint: {address: {socket_address: {address: HOST, port_value: PORT}}}
---
"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: routes
response_headers_to_add: [{header: {key: x-routes, value: ROUTES}}]
virtual_hosts:
- {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: up}}]}
---
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: web
traffic_direction: INBOUND
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: web
      rds: {route_config_name: routes, config_source: {ads: {}, resource_api_version: V3}}
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

// TestRaw: raw Envoy resources of every type come and change, with requests
// under way all the time. A cluster that is replaced waits for its endpoints
// anew, which Envoy does not ask for in delta: it has to be in use well before
// the 15 s after which Envoy stops waiting.
func TestRaw(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		host, port, err := net.SplitHostPort(f.upstream.Address())
		must(t, err)
		resources := func(connect, routes string) string {
			return strings.NewReplacer("CONNECT", connect, "HOST", host, "PORT", port, "ROUTES", routes).Replace(raw)
		}
		f.write("raw.yaml", resources("1s", "one"))
		f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "1"}), "attach: {direction: inbound}"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")

		f.write("raw.yaml", resources("1s", "two"))
		f.eventually(func() error {
			if got := e.get("web", "/").header.Get("x-routes"); got != "two" {
				return fmt.Errorf("routes %q", got)
			}
			return nil
		})
		start := f.write("raw.yaml", resources("2s", "two"))
		f.eventually(func() error {
			dump, err := e.Get(t.Context(), "/config_dump?resource=dynamic_active_clusters")
			if err == nil && !bytes.Contains(dump, []byte(`"connect_timeout": "2s"`)) {
				err = fmt.Errorf("the cluster is not replaced")
			}
			return err
		})
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the cluster was replaced after %v: it waited for its endpoints", took)
		}
		start = f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "2"}), "attach: {direction: inbound}"))
		f.seen(l, start, "x-hello", "2")
		f.good(l)
	})
}
