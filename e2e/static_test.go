package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// staticListener is a listener of Envoy's own before the upstream, with a slot
// for each filter.
func (f *fleet) staticListener(name string, filters ...string) string {
	var slots []string
	for _, filter := range filters {
		slots = append(slots, fmt.Sprintf(`      - name: %s
        config_discovery:
          config_source: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
          type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]`, filter))
	}
	return fmt.Sprintf(`
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: %s
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: web
      route_config:
        name: web
        virtual_hosts: [{name: web, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: upstream}}]}]
      http_filters:
%s      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, name, joined(slots))
}

// upstreamCluster is the cluster "upstream" in Envoy's own form.
func (f *fleet) upstreamCluster() string {
	host, port, _ := strings.Cut(f.upstream.Address(), ":")
	return fmt.Sprintf(`
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: upstream
load_assignment:
  cluster_name: upstream
  endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`, host, port)
}

// staticEdge starts an Envoy with listeners of its own, which gets only its
// filters from xds-server.
func (f *fleet) staticEdge(c combination, listeners string, args ...string) *edge {
	f.t.Helper()
	file := filepath.Join(f.dir, "listeners.yaml")
	must(f.t, os.WriteFile(file, []byte(listeners), 0o644))
	return f.envoy(c, "edge-1", append([]string{"--static-listeners", file, "--modules-url", "http://" + f.server.Addresses.Modules}, args...)...)
}

// firstAnswer waits until a request is answered through the filters. None may
// be answered without them, whatever else becomes of it until then.
func (e *edge) firstAnswer(listener string, names ...string) {
	e.f.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + e.address(listener)
	e.f.eventually(func() error {
		headers, err := harness.Request(e.f.t.Context(), client, url, nil)
		for _, name := range names {
			if err == nil && headers.Get(name) == "" {
				e.f.t.Fatalf("a request passed without %s", name)
			}
		}
		return err
	})
}

// TestStaticListeners: an Envoy that has its own listeners and gets only its
// filters from here. From its first answer on, each request is answered
// through its filters, whatever changes.
func TestStaticListeners(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		hello := func(value string, fault wasmtest.Fault) time.Time {
			return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value, Fault: fault}), "verify: abi"))
		}
		byConfig := f.module(wasmtest.Filter{Header: "x-second", FromConfig: true})
		second := func(value string) time.Time {
			return f.write("second.yaml", filter("second", byConfig, "config: "+value))
		}
		hello("0", wasmtest.None)
		second("0")
		f.serve()
		e := f.staticEdge(c, f.staticListener("web", "hello", "second")+"---\n"+f.upstreamCluster())
		e.firstAnswer("web", "x-hello", "x-second")
		t.Logf("Envoy started → first answer: %v", time.Since(e.Started).Round(time.Millisecond))
		l := e.load("web", "x-hello", "x-second")
		e.runs("hello")
		e.runs("second")
		e.ready()

		var config, module []time.Duration
		for i := 1; i <= rounds(); i++ {
			value := fmt.Sprint(i)
			config = append(config, f.seen(l, second(value), "x-second", value))
			module = append(module, f.seen(l, hello(value, wasmtest.None), "x-hello", value))
		}
		t.Logf("file written → new header, p50: config %v, module %v", harness.Quantile(config, 0.5), harness.Quantile(module, 0.5))

		// One that Envoy refuses: the old one goes on, and the other filter
		// can still change.
		hello("bad", wasmtest.RejectConfigure)
		t.Logf("refused: %q", e.state("hello", "failed").Reason)
		f.seen(l, second("meanwhile"), "x-second", "meanwhile")
		f.seen(l, hello("mended", wasmtest.None), "x-hello", "mended")
		e.runs("hello")

		f.restartServer()
		f.seen(l, hello("restarted", wasmtest.None), "x-hello", "restarted")
		e.runs("hello")
		e.runs("second")
		t.Log(f.good(l))
		if !l.LastSeen("x-hello", "bad").IsZero() {
			t.Error("a module ran that Envoy refused")
		}
	})
}

// TestStaticListenersStruck: kill -9 of the server, and a new start, at any
// moment of a swap in a slot that serves requests.
func TestStaticListenersStruck(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		e := s.staticEdge(c, s.staticListener("web", "hello")+"---\n"+s.upstreamCluster(),
			"--xds-address", s.xds.Address(), "--modules-url", "http://"+s.modules.Address())
		e.firstAnswer("web", "x-hello")
		s.struck(e.load("web", "x-hello"), e, s.restartServer)
	})
}
