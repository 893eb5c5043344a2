package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// dialects are fields of a cluster as people write them. Envoy and we take each
// that is not marked as refused: by both, by us ("here"), or by an old Envoy.
var dialects = []struct{ written, refused string }{
	{"lb_policy: ring_hash", ""},
	{"lbPolicy: Ring_Hash", ""},
	{`lb_policy: "2"`, ""},
	{"lb_policy: 2", ""},
	{"lb_policy: ring-hash", "both"},
	{`lb_policy: ""`, "both"},
	{"respect_dns_ttl: yes", ""},
	{"respect_dns_ttl: Off", ""},
	{"respect_dns_ttl: n", ""},
	{`respect_dns_ttl: "1"`, ""},
	{"respect_dns_ttl: 1", "both"},
	{"per_connection_buffer_limit_bytes: 1e3", "1.36"},
	{`per_connection_buffer_limit_bytes: "1.0"`, "1.36"},
	{`per_connection_buffer_limit_bytes: "0x10"`, "1.36"},
	{`per_connection_buffer_limit_bytes: "+1"`, ""},
	{"per_connection_buffer_limit_bytes: 010", ""},
	{"per_connection_buffer_limit_bytes: {value: 1}", ""},
	{"per_connection_buffer_limit_bytes: {}", ""},
	{"per_connection_buffer_limit_bytes: 1.5", "both"},
	{"per_connection_buffer_limit_bytes: -1", "both"},
	{`common_lb_config: {healthy_panic_threshold: {value: "1."}}`, ""},
	{`common_lb_config: {healthy_panic_threshold: {value: .5}}`, ""},
	{"alt_stat_name: 1.50", ""},
	{"alt_stat_name: 3000000000", ""},
	{"alt_stat_name: 7", "both"},
	{"alt_stat_name: true", "both"},
	{"connect_timeout: {seconds: 1}", ""},
	{"connect_timeout: 01s", ""},
	{"connect_timeout: 1ms", "both"},
	{"connect_timeout: 1", "both"},
	{"health_checks: {timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: {path: /, method: get, codec_client_type: http2}}", ""},
	{"circuit_breakers: {thresholds: {priority: high, track_remaining: yes}}", ""},
	{"!ignore x: &x 3s\nconnect_timeout: *x", ""},
	{"metadata: {typed_filter_metadata: {a: {'@type': type.googleapis.com/google.protobuf.Empty}}}", ""},
	{"metadata: {typed_filter_metadata: {a: {'@type': type.googleapis.com/google.protobuf.Duration, value: {seconds: 1}}}}", ""},
	{"metadata: {typed_filter_metadata: {a: {'@type': type.googleapis.com/google.protobuf.FieldMask, value: {paths: [a]}}}}", ""},
	{"typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {httpProtocolOptions: {}}, common_http_protocol_options: {headers_with_underscores_action: reject_request, idle_timeout: {seconds: 5}}}}", ""},
	// What is taken one way or the other is a mistake sooner than a wish.
	{"respect_dns_ttl: true\nrespectDnsTtl: false", "here"},
}

// TestDialects compares what Envoy's own loader takes with what we take.
func TestDialects(t *testing.T) {
	for _, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range dialects {
				loaded := loads(t, envoy, dir, d.written)
				old := d.refused != "" && strings.HasPrefix(envoy.Version, d.refused)
				if loaded != (d.refused != "both" && !old) {
					t.Errorf("%s: Envoy takes it: %v", d.written, loaded)
				}
				_, problems := definition.Parser{}.Parse("c.yaml", []byte("'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: c\n"+d.written))
				if refused := d.refused == "both" || d.refused == "here"; (len(problems) > 0) != refused {
					t.Errorf("%s: %v", d.written, problems)
				}
			}
		})
	}
}

// loads says whether an Envoy takes fields of a cluster in its bootstrap.
func loads(t *testing.T, envoy harness.Binary, dir, fields string) bool {
	t.Helper()
	path := filepath.Join(dir, "envoy.yaml")
	config := "static_resources:\n  clusters:\n  - name: c\n    " + strings.ReplaceAll(fields, "\n", "\n    ") + "\n"
	must(t, os.WriteFile(path, []byte(config), 0o644))
	return exec.CommandContext(t.Context(), envoy.Path, "--mode", "validate", "-c", path, "--log-level", "critical").Run() == nil
}

// lowerCase is a listener, its cluster and its filter as many write them.
const lowerCase = `"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: up
type: strict_dns
lb_policy: round_robin
dns_lookup_family: v4_only
load_assignment:
  cluster_name: up
  endpoints: {lb_endpoints: {endpoint: {address: {socket_address: {address: HOST, port_value: "PORT", protocol: tcp}}}}}
---
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: web
traffic_direction: inbound
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      codec_type: auto
      generate_request_id: yes
      stat_prefix: web
      route_config:
        virtual_hosts: [{name: all, domains: "*", routes: [{match: {prefix: /}, route: {cluster: up, timeout: {seconds: 5}}}]}]
        response_headers_to_add: {header: {key: x-release, value: 1.10}, append_action: overwrite_if_exists_or_add}
      http_filters:
      - name: hello
        config_discovery: {config_source: {ads: {}, resource_api_version: v3}, type_urls: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm}
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
---
"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
name: hello
typed_config:
  "@type": type.googleapis.com/xds.type.v3.TypedStruct
  type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
  value:
    config:
      failure_policy: fail_open
      configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: 1.10}
      vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: MODULE}}}
`

// TestLowerCase serves it.
func TestLowerCase(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		host, port, err := net.SplitHostPort(f.upstream.Address())
		must(t, err)
		url := f.module(wasmtest.Filter{Header: "x-config", FromConfig: true})
		f.write("edge.yaml", strings.NewReplacer("HOST", host, "PORT", port, "MODULE", url).Replace(lowerCase))
		f.serve()
		e := f.envoy(c, "edge-1")
		f.eventually(func() error {
			got := e.get("web", "/")
			if got.status != http.StatusOK || got.reached.Get("x-config") != "1.10" || got.header.Get("x-release") != "1.10" {
				return fmt.Errorf("status %d, %v, reached with %v", got.status, got.header, got.reached)
			}
			return nil
		})
	})
}

// TestInlinePerContext: three inline filters of one name, as Istio's own
// statistics have it, each on the listeners of its direction alone.
func TestInlinePerContext(t *testing.T) {
	f := newFleet(t)
	f.write("web.yaml", "direction: inbound\n"+f.listener("in")+"---\ndirection: outbound\n"+f.listener("out")+"---\n"+f.listener("gateway"))
	url := f.module(wasmtest.Filter{Header: "x-side", FromConfig: true})
	sides := map[string]string{"in": "SIDECAR_INBOUND", "out": "SIDECAR_OUTBOUND", "gateway": "GATEWAY"}
	object := "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: side}\nspec:\n  configPatches:\n"
	for listener, side := range sides {
		object += fmt.Sprintf(`  - applyTo: HTTP_FILTER
    match: {context: %s}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.wasm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config:
            configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: %s}
            vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: %s}}}
`, side, listener, url)
	}
	f.write("side.yaml", object)
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs("side.inbound")
	for listener := range sides {
		if got := e.get(listener, "/").reached.Values("X-Side"); !slices.Equal(got, []string{listener}) {
			t.Errorf("listener %s: the request met %q", listener, got)
		}
	}
}
