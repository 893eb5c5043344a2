package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestExamples runs the folders of examples/ as they are but for their ports,
// with the filters that are in filter/.
func TestExamples(t *testing.T) {
	modules := t.TempDir()
	build(t, "make", "-s", "-C", "filter", "OUT="+modules)
	t.Run("definitions", func(t *testing.T) { headerExample(t, modules, "definitions", "hello") })
	t.Run("correlation", func(t *testing.T) { correlationExample(t, modules, "correlation", "correlation") })
	t.Run("callout", func(t *testing.T) { calloutExample(t, modules) })
	t.Run("lua", func(t *testing.T) { luaExample(t, modules) })
	t.Run("metrics", func(t *testing.T) { metricsExample(t, modules) })
	t.Run("signed", func(t *testing.T) { signedExample(t, modules) })
	t.Run("tls", func(t *testing.T) { tlsExample(t, modules) })
	t.Run("routes", func(t *testing.T) { routesExample(t, modules) })
	t.Run("accesslog", func(t *testing.T) { accessLogExample(t, modules) })
	t.Run("network", func(t *testing.T) { networkExample(t, modules) })
	t.Run("envoyfilter", func(t *testing.T) { envoyFilterExample(t, modules) })
}

// build runs a command in the project's root.
func build(t *testing.T, command string, args ...string) {
	t.Helper()
	root, err := harness.Root()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// newExample copies a folder of examples/ beside the modules, with the old
// strings in it replaced by the new ones.
func newExample(t *testing.T, modules, folder string, oldnew ...string) *fleet {
	t.Helper()
	root, err := harness.Root()
	must(t, err)
	f := newFleet(t)
	f.definitions = filepath.Join(f.dir, "examples", folder)
	must(t, os.MkdirAll(f.definitions, 0o755))
	must(t, os.CopyFS(filepath.Join(f.dir, "bin", "filters"), os.DirFS(modules)))
	files, err := filepath.Glob(filepath.Join(root, "examples", folder, "*.yaml"))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("no definitions in examples/%s", folder)
	}
	replace := strings.NewReplacer(append(oldnew, "127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:8081", "127.0.0.1:0",
		"127.0.0.1:9000", f.upstream.Address(), "127.0.0.1:9002", f.upstream.Address())...)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		f.write(filepath.Base(file), replace.Replace(string(text)))
	}
	return f
}

// loud starts an Envoy whose log has what filters say at level info.
func (f *fleet) loud(id string, workers int, args ...string) *edge {
	f.t.Helper()
	bootstrap, err := f.server.Bootstrap(f.ctx, id, args...)
	must(f.t, err)
	envoy, err := harness.StartEnvoy(f.ctx, harness.EnvoyConfig{
		Binary: newest().envoy, Dir: filepath.Join(f.dir, id), Bootstrap: bootstrap, LogLevel: "info", Workers: workers})
	must(f.t, err)
	f.t.Cleanup(func() {
		envoy.Kill()
		f.showLog(envoy.Log())
	})
	return &edge{Envoy: envoy, f: f, id: id}
}

// answer is what came back: the response, and what the upstream says it got.
type answer struct {
	status  int
	header  http.Header
	reached http.Header // of the request, at the upstream; nil: it didn't get there
	body    string
}

func (e *edge) get(listener, path string, headers ...string) answer {
	e.f.t.Helper()
	r, err := http.NewRequestWithContext(e.f.t.Context(), http.MethodGet, "http://"+e.address(listener)+path, nil)
	must(e.f.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	must(e.f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(e.f.t, err)
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.StatusCode == http.StatusOK {
		a.reached = http.Header{}
		for line := range strings.Lines(a.body) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				a.reached.Add(name, value)
			}
		}
	}
	return a
}

func headerExample(t *testing.T, modules, folder, name string) {
	f := newExample(t, modules, folder)
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs(name)
	got := e.get("web", "/", "X-My-Custom-Header", "spoofed", "X-My-Custom-Header", "twice").reached
	if values := got.Values("X-My-Custom-Header"); !slices.Equal(values, []string{"hello world"}) {
		t.Errorf("the upstream got %q, want only hello world", values)
	}
}

func luaExample(t *testing.T, modules string) {
	f := newExample(t, modules, "lua")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs("tenant")
	if got := e.get("web", "/"); got.status != http.StatusBadRequest {
		t.Errorf("a request without a tenant: %d, want 400", got.status)
	}
	if got := e.get("web", "/", "X-Tenant", "ACME"); got.reached.Get("X-Tenant") != "acme" {
		t.Errorf("%d, the upstream got %q, want acme", got.status, got.reached.Get("X-Tenant"))
	}
}

// correlationExample has trailers both ways, which Envoy passes on in HTTP/1
// only where a listener and a cluster say so.
func correlationExample(t *testing.T, modules, folder, name string) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-End")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "0123456789")
		w.Header().Set("X-End", r.Trailer.Get("X-Sum"))
	}))
	t.Cleanup(upstream.Close)
	f := newExample(t, modules, folder)
	f.write("web.yaml", trailersListener(t, upstream.Listener.Addr().String()))
	f.serve()
	e := f.loud("edge-1", 1)
	e.runs(name)

	conn, err := net.Dial("tcp", e.address("web"))
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "POST /upload HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"+
		"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	if got := resp.Trailer.Get("X-End"); got != "11" {
		t.Fatalf("trailers didn't pass: %v", resp.Trailer)
	}
	id := resp.Header.Get("X-Correlation-Id")
	if len(id) != 36 {
		t.Errorf("x-correlation-id: %q, want Envoy's x-request-id", id)
	}
	want := map[string]any{
		"id": id, "method": "POST", "path": "/upload", "status": "201",
		"request":  map[string]any{"bodyBytes": 11.0, "trailers": 1.0},
		"response": map[string]any{"bodyBytes": 10.0, "trailers": 1.0},
	}
	f.eventually(func() error { // the line is written when the stream is done
		log, err := os.ReadFile(e.Log())
		if err != nil {
			return err
		}
		at := strings.Index(string(log), `{"context":`)
		if at < 0 {
			return errors.New("no line in Envoy's log")
		}
		var got map[string]any
		if err := json.NewDecoder(bytes.NewReader(log[at:])).Decode(&got); err != nil {
			return err
		}
		delete(got, "context")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("log %v, want %v", got, want)
		}
		return nil
	})
}

// trailersListener is a raw inbound listener "web" and its cluster.
func trailersListener(t *testing.T, upstream string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(upstream)
	must(t, err)
	return fmt.Sprintf(`
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
      http_protocol_options: {enable_trailers: true}
      route_config:
        name: web
        virtual_hosts: [{name: web, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: upstream}}]}]
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: upstream
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: {http_protocol_options: {enable_trailers: true}}
load_assignment:
  cluster_name: upstream
  endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`, host, port)
}

func calloutExample(t *testing.T, modules string) {
	authz := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/check" {
			t.Errorf("asked for %s", r.URL)
		}
		switch r.Header.Get("Authorization") {
		case "ann":
			w.Header().Set("X-User", "ann")
		case "late":
			select {
			case <-r.Context().Done():
			case <-time.After(patience):
				t.Error("the filter still waits for the answer")
			}
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(authz.Close)
	_, port, err := net.SplitHostPort(authz.Listener.Addr().String())
	must(t, err)
	f := newExample(t, modules, "callout", "port_value: 9001", "port_value: "+port)
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs("callout")
	for who, want := range map[string]int{"ann": 200, "bob": 403, "broken": 503, "late": 503} {
		got := e.get("web", "/", "Authorization", who, "X-User", "spoofed")
		if got.status != want {
			t.Errorf("%s: %d %s, want %d", who, got.status, got.body, want)
		}
		if users := got.reached.Values("X-User"); want == 200 && !slices.Equal(users, []string{who}) {
			t.Errorf("%s: the upstream got x-user %q", who, users)
		}
	}
	authz.Close()
	if got := e.get("web", "/", "Authorization", "ann"); got.status != 503 {
		t.Errorf("the service is gone: %d, want 503", got.status)
	}
}

func metricsExample(t *testing.T, modules string) {
	f := newExample(t, modules, "metrics")
	f.serve()
	e := f.loud("edge-1", 2)
	e.runs("metrics")
	seen := map[int]bool{}
	const requests = 20 // each on its own connection, so that both workers have some
	for range requests {
		got := e.get("web", "/")
		number, err := strconv.Atoi(got.header.Get("X-Request-Number"))
		must(t, err)
		seen[number] = true
	}
	for n := 1; n <= requests; n++ {
		if !seen[n] {
			t.Errorf("no request had the number %d", n)
		}
	}
	f.eventually(func() error {
		stats, err := e.Stats(t.Context(), `wasmcustom\.web`)
		if err != nil {
			return err
		}
		if stats["wasmcustom.web.responses.2xx"] != requests || stats["wasmcustom.web.in_flight"] != 0 {
			return fmt.Errorf("want %d responses, none in flight: %v", requests, stats)
		}
		return nil
	})
}

func envoyFilterExample(t *testing.T, modules string) {
	f := newExample(t, modules, "envoyfilter")
	f.serve()
	e := f.envoy(newest(), "sidecar-1", "--node-label", "app=my-app-selector")
	e.runs("direction-in")
	e.runs("direction-out")
	for _, direction := range []string{"in", "out"} {
		got := e.get(direction, "/")
		if a, b := got.reached.Values("X-Direction"), got.header.Values("X-Direction"); !slices.Equal(a, []string{direction}) || !slices.Equal(b, a) {
			t.Errorf("listener %s: x-direction at the upstream %q, in the response %q", direction, a, b)
		}
	}
	other := f.envoy(newest(), "other-1", "--node-label", "app=another")
	other.ready()
	if address, err := other.Listener(t.Context(), "in"); err == nil {
		t.Errorf("an Envoy with another label has the listener, at %s", address)
	}
}
