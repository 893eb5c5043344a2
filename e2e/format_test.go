package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// The definitions here are those of other systems, dropped in as they are
// published but for where their modules come from.

// hub is a registry for images, without TLS.
type hub struct {
	t     *testing.T
	host  string
	close func()
}

func newHub(t *testing.T) *hub {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return &hub{t, server.Listener.Addr().String(), server.Close}
}

// push publishes an image with the module in it as /plugin.wasm.
func (h *hub) push(image string, m wasmtest.Filter) {
	h.t.Helper()
	module := m.Module()
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	must(h.t, archive.WriteHeader(&tar.Header{Name: "plugin.wasm", Mode: 0o644, Size: int64(len(module))}))
	_, err := archive.Write(module)
	must(h.t, err)
	must(h.t, archive.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	must(h.t, err)
	made, err := mutate.AppendLayers(empty.Image, layer)
	must(h.t, err)
	ref, err := name.ParseReference(h.host+"/"+image, name.Insecure)
	must(h.t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	must(h.t, remote.Write(ref, made, remote.WithTransport(transport)))
}

// serveFrom starts xds-server so that it looks for moved tags all the time.
func (f *fleet) serveFrom(h *hub) {
	f.t.Helper()
	f.serve("--plain-http-registries", h.host, "--poll-interval", "100ms")
}

// TestWasmPlugin: Istio's examples of basic authentication, from a registry,
// and of a header, from a web server. Both modules show their configuration in
// a header, in the order in which the request meets them.
func TestWasmPlugin(t *testing.T) {
	h := newHub(t)
	w := newWebFleet(t, "")
	w.write("web.yaml", "direction: inbound\n"+w.listener("web")+"---\n"+w.listener("gateway"))
	echo := wasmtest.Filter{Header: "x-config", FromConfig: true}
	h.push("wasm-extensions/basic_auth:1.12.0", echo)
	echo.Log = "another module"
	w.write("basic-auth.yaml", fmt.Sprintf(`apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: basic-auth
  namespace: istio-system
spec:
  selector:
    matchLabels:
      istio: ingressgateway
  url: oci://%s/wasm-extensions/basic_auth:1.12.0
  phase: AUTHN
  pluginConfig:
    basic_auth_rules:
      - prefix: "/productpage"
        request_methods:
          - "GET"
          - "POST"
        credentials:
          - "ok:test"
          - "YWRtaW4zOmFkbWluMw=="
`, h.host))
	w.write("a-header.yaml", fmt.Sprintf(`apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: a-header
spec:
  url: %s
  sha256: %s
  failStrategy: FAIL_CLOSE
  match:
  - mode: SERVER
  pluginConfig:
    header: x-my-custom-header
    value: hello world
`, w.origin.Put("header.wasm", echo.Module()), harness.SHA256(echo.Module())))
	w.serveFrom(h)
	e := w.envoy(newest(), "gateway-1", "--node-label", "istio=ingressgateway")
	l := e.load("web", "x-config")

	basic := `{"basic_auth_rules":[{"credentials":["ok:test","YWRtaW4zOmFkbWluMw=="],"prefix":"/productpage","request_methods":["GET","POST"]}]}`
	header := `{"header":"x-my-custom-header","value":"hello world"}`
	w.seen(l, e.Started, "x-config", header)
	for listener, want := range map[string][]string{"web": {basic, header}, "gateway": {basic}} {
		if got := e.get(listener, "/").reached.Values("X-Config"); !slices.Equal(got, want) {
			t.Errorf("listener %s: the request met %q, want %q", listener, got, want)
		}
	}
	other := w.envoy(newest(), "other-1")
	if got := other.get("web", "/").reached.Values("X-Config"); !slices.Equal(got, []string{header}) {
		t.Errorf("without the label the request met %q", got)
	}
	e.runs("istio-system.basic-auth")
	w.good(l)
}

// TestEnvoyExtensionPolicy: Envoy Gateway's, of a module on a web server and
// one in a registry whose tag moves on.
func TestEnvoyExtensionPolicy(t *testing.T) {
	h := newHub(t)
	w := newWebFleet(t, "")
	w.write("web.yaml", w.listener("web")+"---\n"+w.listener("other"))
	byHTTP := wasmtest.Filter{Header: "x-http", FromConfig: true}
	image := func(value string) time.Time {
		h.push("testwasm:v0.0.1", wasmtest.Filter{Header: "x-image", Value: value})
		return time.Now()
	}
	image("1")
	w.write("policy.yaml", fmt.Sprintf(`apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata:
  name: wasm-test
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, name: eg, sectionName: web}
  wasm:
  - name: wasm-filter
    rootID: my_root_id
    code:
      type: HTTP
      http:
        url: %s
        sha256: %s
    config: {parameter1: {key1: value1}, parameter2: value3}
  - name: image
    code:
      type: Image
      pullPolicy: Always
      image:
        url: %s/testwasm:v0.0.1
`, w.origin.Put("example.wasm", byHTTP.Module()), harness.SHA256(byHTTP.Module()), h.host))
	w.serveFrom(h)
	e := w.envoy(newest(), "edge-1")
	l := e.load("web", "x-http", "x-image")
	w.seen(l, e.Started, "x-http", `{"parameter1":{"key1":"value1"},"parameter2":"value3"}`)
	w.seen(l, e.Started, "x-image", "1")
	start := image("2")
	t.Logf("tag moved → new header: %v", w.seen(l, start, "x-image", "2"))
	if got := e.get("other", "/").reached; got.Get("X-Http") != "" || got.Get("X-Image") != "" {
		t.Errorf("the listener that no target names has the filters: %v", got)
	}
	e.runs("wasm-test.wasm-filter")
	e.runs("wasm-test.image")
	w.good(l)
}

// TestEnvoyFilter: the pattern as public examples have it: the filter in a
// TypedStruct, inserted before something, from a web server, not pinned.
func TestEnvoyFilter(t *testing.T) {
	w := newWebFleet(t, "")
	w.write("web.yaml", "direction: inbound\n"+w.listener("web")+"---\ndirection: outbound\n"+w.listener("out"))
	set := func(value string) time.Time {
		url := w.origin.Put(value+".wasm", wasmtest.Filter{Header: "x-hello", FromConfig: true, Log: value}.Module())
		return w.write("envoyfilter.yaml", fmt.Sprintf(`apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: wasm-example, namespace: myns}
spec:
  workloadSelector: {labels: {app: my-app-selector}}
  configPatches:
  - applyTo: EXTENSION_CONFIG
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: INSERT_BEFORE
      value:
        name: my-wasm-extension
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: envoy.extensions.filters.http.wasm.v3.Wasm
          value:
            config:
              root_id: my-wasm-root-id
              configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: %q}
              vm_config:
                vm_id: my-wasm-vm-id
                runtime: envoy.wasm.runtime.v8
                code: {remote: {http_uri: {uri: %q}}}
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: my-wasm-extension
        config_discovery:
          config_source: {ads: {}}
          type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]
`, "config "+value, url))
	}
	set("1")
	w.serve()
	e := w.envoy(newest(), "sidecar-1", "--node-label", "app=my-app-selector")
	l := e.load("web", "x-hello")
	w.seen(l, e.Started, "x-hello", "config 1")
	t.Logf("file written → new header: %v", w.seen(l, set("2"), "x-hello", "config 2"))
	if got := e.get("out", "/").reached; got.Get("X-Hello") != "" {
		t.Errorf("the outbound listener has the filter: %v", got)
	}
	e.runs("my-wasm-extension")
	w.good(l)
}

// TestRawExtension: a TypedExtensionConfig as in Envoy's documentation, in a
// slot of a raw listener; its module is mirrored, or fetched by Envoy. The
// cluster that it names need not be there either way.
func TestRawExtension(t *testing.T) {
	for _, fetch := range []string{"mirror", "direct"} {
		t.Run(fetch, func(t *testing.T) {
			w := newWebFleet(t, "")
			w.write("web.yaml", w.staticListener("web", "hello")+"---\n"+w.upstreamCluster())
			set := func(value string) time.Time {
				module := wasmtest.Filter{Header: "x-hello", Value: value}.Module()
				return w.write("hello.json", fmt.Sprintf(`{
	"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
	"name": "hello",
	"fetch": %q,
	"typedConfig": {
		"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
		"config": {
			"rootId": "my_root_id",
			"vmConfig": {"vmId": "my_vm_id", "runtime": "envoy.wasm.runtime.v8", "code": {"remote": {
				"httpUri": {"uri": %q, "cluster": "wasm_origin", "timeout": "5s"},
				"sha256": %q
			}}}
		}
	}
}`, fetch, w.origin.Put(value+".wasm", module), harness.SHA256(module)))
			}
			set("1")
			w.serve()
			e := w.envoy(newest(), "edge-1")
			l := e.load("web", "x-hello")
			w.seen(l, e.Started, "x-hello", "1")
			t.Logf("file written → new header: %v", w.seen(l, set("2"), "x-hello", "2"))
			e.runs("hello")
			if good, _, err := e.Answers(t.Context(), modulesCluster); err != nil || (good > 0) != (fetch == "mirror") {
				t.Errorf("Envoy fetched %d modules from xds-server (%v)", good, err)
			}
			w.good(l)
		})
	}
}
