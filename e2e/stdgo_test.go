package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"wasmxds/e2e/harness"
)

// TestStdgo has each Envoy run a filter that makes every host call and has
// every callback of the Go SDK, compiled by the stock toolchain. The filter
// checks them itself and logs what it saw.
func TestStdgo(t *testing.T) {
	module := filepath.Join(t.TempDir(), "everything.wasm")
	t.Setenv("GOOS", "wasip1")
	t.Setenv("GOARCH", "wasm")
	build(t, "go", "-C", "filter/stdgo", "build", "-buildmode=c-shared", "-o", module, "./testdata/everything")
	want := functions(t, module)
	for _, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			log := everything(t, envoy, module)
			for _, line := range regexp.MustCompile(`everything: .*: got .*`).FindAllString(log, -1) {
				t.Error(line)
			}
			for _, name := range want {
				if !strings.Contains(log, "everything: "+name+": ok") {
					t.Errorf("%s was never seen to be right", name)
				}
			}
		})
	}
}

// functions are the host calls that a module imports and the callbacks that it
// exports, but for those that a filter doesn't see.
func functions(t *testing.T, module string) []string {
	t.Helper()
	code, err := os.ReadFile(module)
	must(t, err)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	compiled, err := r.CompileModule(t.Context(), code)
	must(t, err)
	var names []string
	for _, f := range compiled.ImportedFunctions() {
		if from, name, _ := f.Import(); from == "env" {
			names = append(names, name)
		}
	}
	for name := range compiled.ExportedFunctions() {
		if strings.HasPrefix(name, "proxy_on_") && name != "proxy_on_memory_allocate" && name != "proxy_on_delete" {
			names = append(names, name)
		}
	}
	if len(names) != 29+19 {
		t.Errorf("%d functions to try, want 29 host calls and 19 callbacks: %v", len(names), names)
	}
	return names
}

// everything plays all that the filter knows, ends Envoy and returns its log.
func everything(t *testing.T, envoy harness.Binary, module string) string {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/trailers" {
			w.Header().Set("Trailer", "X-One")
			defer w.Header().Set("X-One", "1")
		}
		fmt.Fprintf(w, "%s %s%s", r.URL.Path, body, r.Trailer.Get("X-Two"))
	}))
	t.Cleanup(upstream.Close)
	e := everythingEnvoy(t, envoy, everythingBootstrap(t, module, upstream.Listener.Addr().String(), echoTCP(t)))
	for path, want := range map[string]string{
		"/headers":  "200 /headers hello world",
		"/body":     "200 replaced: /body [hello world]",
		"/trailers": "200 /trailers hello world2",
		"/wait":     "200 /wait hello world",
		"/respond":  "418 teapot",
		"/call":     "200 /call hello world",
	} {
		if got := exchange(t, e.address("http"), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	converse(t, e.address("tcp"))
	e.quit()
	log, err := os.ReadFile(e.Log())
	must(t, err)
	return string(log)
}

// exchange posts "hello world", with a trailer where the path is /trailers,
// and gives the status and the body of the response.
func exchange(t *testing.T, address, path string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	trailer := ""
	if path == "/trailers" {
		trailer = "X-One: 1\r\n"
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n6\r\n world\r\n0\r\n%s\r\n", path, trailer)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if got := resp.Trailer.Get("X-One"); path == "/trailers" && got != "replaced" {
		t.Errorf("%s: the response's trailer is %q", path, got)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

// converse says hello, waits for an answer, and has the filter close.
func converse(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "hello")
	must(t, err)
	first := make([]byte, 1)
	_, err = io.ReadFull(conn, first)
	must(t, err)
	if first[0] != '[' {
		t.Errorf("the answer begins with %q, want [", first)
	}

	_, err = io.WriteString(conn, "close")
	must(t, err)
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("waiting for the filter to close: %v", err)
	}
}

// echoTCP sends back what it gets on its connections, until the test ends.
func echoTCP(t *testing.T) (address string) {
	t.Helper()
	echo, err := harness.StartEcho()
	must(t, err)
	t.Cleanup(func() { must(t, echo.Close()) })
	return echo.Address()
}

// everythingEnvoy starts an Envoy that the test may end itself.
func everythingEnvoy(t *testing.T, envoy harness.Binary, bootstrap []byte) *edge {
	t.Helper()
	f := &fleet{t: t, ctx: context.Background(), dir: t.TempDir()}
	e := &edge{f: f, id: "edge-1"}
	var err error
	e.Envoy, err = harness.StartEnvoy(f.ctx, harness.EnvoyConfig{Binary: envoy, Dir: filepath.Join(f.dir, e.id), Bootstrap: bootstrap})
	must(t, err)
	t.Cleanup(func() {
		e.Kill()
		f.showLog(e.Log())
	})
	return e
}

// quit has Envoy end in an orderly way, which plugins are told.
func (e *edge) quit() {
	e.f.t.Helper()
	admin, err := os.ReadFile(filepath.Join(e.f.dir, e.id, "admin"))
	must(e.f.t, err)
	resp, err := http.Post("http://"+string(admin)+"/quitquitquit", "", nil)
	must(e.f.t, err)
	must(e.f.t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	e.f.eventually(func() error {
		if e.Running() == nil {
			return errors.New("Envoy still runs")
		}
		return nil
	})
}

// everythingBootstrap has the filter before an HTTP and a TCP service, with
// one VM for both.
func everythingBootstrap(t *testing.T, module, httpAddress, tcpAddress string) []byte {
	t.Helper()
	plugin := func(name, config string) string {
		return fmt.Sprintf(`{name: %s, root_id: %[1]s, configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: %s},
          vm_config: {vm_id: everything, runtime: envoy.wasm.runtime.v8, code: {local: {filename: %q}},
            configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: vm start}}}`, name, config, module)
	}
	cluster := func(name, address string) string {
		host, port, err := net.SplitHostPort(address)
		must(t, err)
		return fmt.Sprintf(`
  - name: %s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {enable_trailers: true}}
    load_assignment:
      cluster_name: %[1]s
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]`, name, host, port)
	}
	return fmt.Appendf(nil, `
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  clusters:%s%s
  listeners:
  - name: http
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          http_protocol_options: {enable_trailers: true}
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: upstream}}]}]
          http_filters:
          - name: everything
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config: %s
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  - name: tcp
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: everything
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
          config: %s
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: echo
`, cluster("upstream", httpAddress), cluster("echo", tcpAddress), plugin("http", "http"), plugin("tcp", "tcp"))
}
