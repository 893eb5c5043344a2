package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/certs"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// envoyYAML is the file of an Envoy that has everything for itself: an HTTP
// listener before the upstream with Wasm filters in it, one that speaks TLS with a
// static secret and leads to the first, and what only a bootstrap has.
func (f *fleet) envoyYAML(filters ...string) string {
	f.t.Helper()
	dir := filepath.Join(f.dir, "certs")
	_, err := certs.Dev(dir, certs.Development{})
	must(f.t, err)
	secure := strings.Replace(f.staticListener("secure"), "filter_chains:\n- filters:", `filter_chains:
- transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context: {tls_certificate_sds_secret_configs: [{name: cert}]}
  filters:`, 1)
	return fmt.Sprintf(`
node: {id: somebody, cluster: else}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
stats_flush_interval: 1s
layered_runtime: {layers: [{name: admin, admin_layer: {}}]}
static_resources:
  listeners:
%s%s
  clusters:
%s
  secrets:
  - name: cert
    tls_certificate: {certificate_chain: {filename: %q}, private_key: {filename: %q}}
`, listItem(f.inlined("edge", filters...)), listItem(secure), listItem(f.upstreamCluster()), filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
}

// listItem is a document as an item of a list in static_resources.
func listItem(document string) string {
	return "  - " + strings.ReplaceAll(strings.TrimSpace(document), "\n", "\n    ") + "\n"
}

// secure asks the listener that speaks TLS.
func (e *edge) secure() error {
	address := e.address("secure")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is for another name
	_, err := harness.Request(e.f.t.Context(), client, "https://"+address, nil)
	return err
}

// TestBootstrap: an envoy.yaml that is dropped in is served: its Wasm filters are
// mirrored, tried, primed and swapped as any other, its secrets come by SDS, and
// through a bad module, and a bad file, what was good goes on.
func TestBootstrap(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		w.remove("web.yaml")
		hello := func(value string, m wasmtest.Filter) time.Time {
			m.Header, m.Value = "x-hello", value
			uri := w.origin.Put(value+".wasm", m.Module())
			return w.write("envoy.yaml", w.envoyYAML(wasmOf("my.wasm", uri, harness.SHA256(m.Module()))))
		}
		hello("0", wasmtest.Filter{})
		w.serve()
		e := w.envoy(c, "edge-1")
		l := e.load("edge", "x-hello")
		w.seen(l, e.Started, "x-hello", "0")
		must(t, e.secure())
		for i := 1; i <= rounds(); i++ {
			value := fmt.Sprint(i)
			t.Logf("file written → new header: %v", w.seen(l, hello(value, wasmtest.Filter{}), "x-hello", value))
		}
		hello("bad", wasmtest.Filter{Fault: wasmtest.RejectConfigure})
		w.eventually(func() error {
			_, err := w.refused("edge-1", "edge/my.wasm")
			return err
		})
		out, err := exec.CommandContext(t.Context(), xdsServer, "validate", "--modules", w.definitions).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "envoy.yaml:21: ") || !strings.Contains(string(out), "envoy.yaml:3: admin") {
			t.Errorf("validate --modules: %v, %s", err, out)
		}
		w.write("envoy.yaml", strings.Replace(w.envoyYAML(), "http_filters", "http_filter", 1))
		w.eventually(func() error { return w.complains("unknown field of HttpConnectionManager") })
		w.seen(l, hello("after", wasmtest.Filter{}), "x-hello", "after")
		e.runs("edge/my.wasm")
		must(t, e.secure())
		w.good(l)
		if !l.LastSeen("x-hello", "bad").IsZero() {
			t.Error("a bad module ran")
		}
	})
}

// TestBootstrapConverted: what convert makes of an envoy.yaml, of which one
// listener becomes a native one, takes its place without a request that fails or
// passes the filter by, and an Envoy that starts with it answers the same.
func TestBootstrapConverted(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		w.remove("web.yaml")
		m := wasmtest.Filter{Header: "x-hello", FromConfig: true}.Module()
		uri := w.origin.Put("hello.wasm", m)
		of := func(value string) string {
			config := `{configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: ` + value + "}, "
			return strings.Replace(wasmOf("my.wasm", uri, harness.SHA256(m)), "{name: p, ", config, 1)
		}
		plain := w.inlined("plain", of("two"), strings.Replace(of("three"), "my.wasm", "other.wasm", 1))
		plain = strings.Replace(plain, "      stat_prefix: web\n", "      stat_prefix: web\n      use_remote_address: true\n      normalize_path: true\n", 1)
		text := strings.Replace(w.envoyYAML(of("one")), "  listeners:\n", "  listeners:\n"+listItem(plain), 1)
		text = strings.Replace(text, "    name: upstream\n", "    name: upstream\n    type: STATIC\n", 1)
		w.write("envoy.yaml", text)
		w.serve()
		answers := func(e *edge) string {
			must(t, e.secure())
			var all strings.Builder
			for _, ask := range []struct{ listener, path string }{{"edge", "/a/../b"}, {"plain", "/a/../b"}} {
				a := e.get(ask.listener, ask.path, "X-Forwarded-For", "10.0.0.1")
				a.reached.Del("X-Request-Id")
				a.reached.Del("X-Envoy-Expected-Rq-Timeout-Ms")
				first, _, _ := strings.Cut(a.body, "\n")
				fmt.Fprintln(&all, ask.listener, a.status, first, a.reached)
			}
			return all.String()
		}
		e := w.envoy(c, "edge-1")
		l := e.load("edge", "x-hello")
		w.seen(l, e.Started, "x-hello", "one")
		before := answers(e)
		if !strings.Contains(before, "two") || !strings.Contains(before, "10.0.0.1") {
			t.Fatal(before)
		}

		made := filepath.Join(w.dir, "made")
		out, err := exec.CommandContext(t.Context(), xdsServer, "convert", w.definitions, "-o", made).CombinedOutput()
		must(t, err)
		converted, err := os.ReadFile(filepath.Join(made, "envoy.yaml"))
		must(t, err)
		if !strings.Contains(string(converted), "kind: Listener\nname: plain\n") || !strings.Contains(string(out), "stats_flush_interval") {
			t.Errorf("%s\n%s", out, converted)
		}
		w.write("envoy.yaml", string(converted))
		for _, name := range []string{"edge/my.wasm", "plain/my.wasm", "plain/other.wasm"} {
			e.runs(name)
		}
		w.seen(l, w.write("envoy.yaml", strings.Replace(string(converted), "config: one", "config: changed", 1)), "x-hello", "changed")
		w.seen(l, w.write("envoy.yaml", string(converted)), "x-hello", "one")
		fresh := w.envoy(c, "edge-2")
		if after := answers(fresh); after != before {
			t.Errorf("%sbut of the envoy.yaml itself\n%s", after, before)
		}
		w.good(l)
	})
}
