package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// place is an upstream that says which it is, what it was asked, and whether it is
// well.
type place struct {
	name    string
	ill     atomic.Bool
	asked   atomic.Int64 // by requests, not by health checks
	checked atomic.Int64
	address string
}

// newPlace starts one that speaks HTTP/1, and HTTP/2 where http2 says so and alone.
func newPlace(t *testing.T, name string, http2 bool) *place {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &place{name: name, address: l.Addr().String()}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	server := &http.Server{Handler: p, Protocols: protocols}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return p
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/grpc.health.v1.Health/Check":
		p.checked.Add(1)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		status := byte(1) // SERVING
		if p.ill.Load() {
			status = 2
		}
		w.Write([]byte{0, 0, 0, 0, 2, 8, status})
		w.Header().Set("Grpc-Status", "0")
	case r.URL.Path == "/well":
		p.checked.Add(1)
		if p.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case r.URL.Path == "/api/flaky" && r.Header.Get("X-Envoy-Attempt-Count") == "" && p.asked.Add(1)%2 == 1:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		p.asked.Add(1)
		fmt.Fprintf(w, "%s %s %s", p.name, r.URL.Path, r.Proto)
	}
}

// asks is a request, and what it is answered.
type asks struct {
	method, host, path string
	header             http.Header
	want               string
}

func (e *edge) gives(client *http.Client, address string, a asks) error {
	got, err := e.answer(client, address, a)
	if err == nil && got != a.want {
		err = fmt.Errorf("%s %s%s %v: %q, want %q", a.method, a.host, a.path, a.header, got, a.want)
	}
	return err
}

// answer is the status, and where it leads to or what is in it.
func (e *edge) answer(client *http.Client, address string, a asks) (string, error) {
	ctx, cancel := context.WithTimeout(e.f.t.Context(), 10*time.Second)
	defer cancel()
	if a.method == "" {
		a.method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, a.method, "http://"+address+a.path, nil)
	if err != nil {
		return "", err
	}
	r.Host, r.Header = a.host, a.header.Clone()
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return strings.TrimSpace(fmt.Sprintf("%d %s%s", resp.StatusCode, resp.Header.Get("Location"), body)), err
}

// TestRoutes: Envoy does with hosts, methods, headers, paths, rewrites, redirects
// and retries what routes say.
func TestRoutes(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		one, two := newPlace(t, "one", false), newPlace(t, "two", true)
		f.write("web.yaml", fmt.Sprintf(`kind: Listener
name: web
address: 127.0.0.1:0
accessLog: json
routes:
- {path: /healthz, upstream: %[1]q}
- {hosts: [old.example], prefix: /, redirect: {scheme: https, host: shop.example, port: 8443, code: 308}}
- {hosts: [shop.example], path: /cart, redirect: {path: /basket, code: 302}}
- {hosts: [shop.example], prefix: /v1/, redirect: {prefix: /v2/}}
- {hosts: [shop.example], prefix: /api/, methods: [PUT, DELETE], upstreams: [{address: %[2]q, protocol: http2}]}
- {hosts: [shop.example], prefix: /api/flaky, upstream: %[1]q, retries: {on: [5xx], attempts: 2, perTry: 5s}}
- {hosts: [shop.example], prefix: /api/, headers: [{name: x-a, exact: b}, {name: x-c, present: false}], upstreams: [{address: %[2]q, protocol: http2}]}
- {hosts: [shop.example], prefix: /api/, headers: [{name: x-d, prefix: "2."}], upstream: %[1]q, rewrite: {prefix: /d/}}
- {hosts: [shop.example], prefix: /api/, headers: [{name: x-e, regex: "[0-9]+"}], upstream: %[1]q, rewrite: {prefix: /e/}}
- {hosts: ["*.shop.example"], prefix: /, upstream: %[1]q, rewrite: {prefix: /below/}}
- {hosts: [shop.example, x.shop.example], regex: "/users/[0-9]+", upstream: %[1]q}
- {hosts: [shop.example], prefix: /, upstream: %[1]q, rewrite: {prefix: /shop/}}
`, one.address, two.address))
		f.serve()
		e := f.envoy(c, "edge-1")
		address := e.address("web")
		client := &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		header := func(name, value string, more ...string) http.Header {
			h := http.Header{name: {value}}
			for i := 0; i < len(more); i += 2 {
				h[more[i]] = []string{more[i+1]}
			}
			return h
		}
		f.eventually(func() error {
			return e.gives(client, address, asks{path: "/healthz", want: "200 one /healthz HTTP/1.1"})
		})
		for _, a := range []asks{
			{host: "shop.example", path: "/healthz", want: "200 one /healthz HTTP/1.1"},
			{host: "other.example", path: "/", want: "404"},
			{host: "OLD.example:1234", path: "/a?b=c", want: "308 https://shop.example:8443/a?b=c"},
			{host: "shop.example", path: "/cart", want: "302 http://shop.example/basket"},
			{host: "shop.example", path: "/cart/1", want: "200 one /shop/cart/1 HTTP/1.1"},
			{host: "shop.example", path: "/v1/a", want: "301 http://shop.example/v2/a"},
			{host: "shop.example:80", method: "PUT", path: "/api/a", want: "200 two /api/a HTTP/2.0"},
			{host: "shop.example", method: "POST", path: "/api/a", want: "200 one /shop/api/a HTTP/1.1"},
			{host: "shop.example", path: "/api/a", header: header("X-A", "b"), want: "200 two /api/a HTTP/2.0"},
			{host: "shop.example", path: "/api/a", header: header("X-A", "b", "X-C", ""), want: "200 one /shop/api/a HTTP/1.1"},
			{host: "shop.example", path: "/api/a", header: header("X-D", "2.7"), want: "200 one /d/a HTTP/1.1"},
			{host: "shop.example", path: "/api/a", header: header("X-E", "42"), want: "200 one /e/a HTTP/1.1"},
			{host: "shop.example", path: "/api/a", header: header("X-E", "42b"), want: "200 one /shop/api/a HTTP/1.1"},
			{host: "y.shop.example", path: "/users/1", want: "200 one /below/users/1 HTTP/1.1"},
			{host: "x.shop.example", path: "/users/1", want: "200 one /below/users/1 HTTP/1.1"},
			{host: "shop.example", path: "/users/1?a=b", want: "200 one /users/1 HTTP/1.1"},
			{host: "shop.example", path: "/users/one", want: "200 one /shop/users/one HTTP/1.1"},
			{host: "shop.example", path: "/api/flaky", want: "200 one /api/flaky HTTP/1.1"},
		} {
			if err := e.gives(client, address, a); err != nil {
				t.Error(err)
			}
		}
		f.eventually(func() error { // Envoy writes 64 KiB at once, or what there is each 10 s
			for range 50 {
				if err := e.gives(client, address, asks{path: "/healthz", want: "200 one /healthz HTTP/1.1"}); err != nil {
					return err
				}
			}
			b, err := os.ReadFile(e.Log())
			if err == nil && !strings.Contains(string(b), `"path":"/cart/1"`) {
				err = fmt.Errorf("no line of JSON for a request in %s", e.Log())
			}
			return err
		})
	})
}

// TestUnwell: an endpoint that is not well gets no requests, by either kind of
// check, and gets them again when it is; and changes of routes and upstreams close
// no connection.
func TestUnwell(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		one, two, three, four := newPlace(t, "one", false), newPlace(t, "two", false), newPlace(t, "three", true), newPlace(t, "four", true)
		const often = "interval: 100ms, unhealthy: 1, healthy: 1"
		listener := func(routes string) string {
			return fmt.Sprintf(`kind: Listener
name: web
address: 127.0.0.1:0
routes:
- {prefix: /plain, upstreams: [{endpoints: [%[1]q, %[2]q], healthCheck: {path: /well, %[3]s}}]}
- {prefix: /grpc, upstreams: [{endpoints: [%[4]q, %[5]q], protocol: http2, healthCheck: {grpc: "", %[3]s}}]}
%[6]s- {prefix: /, upstream: %[7]q}
`, one.address, two.address, often, three.address, four.address, routes, f.upstream.Address())
		}
		f.write("web.yaml", listener(""))
		f.serve()
		e := f.envoy(c, "edge-1")
		address := e.address("web")
		kept := harness.OpenConnections(f.ctx, harness.ConnectionsConfig{Address: address, Header: chainHeader, HTTP1: 6, HTTP2: 6, Long: 1})
		t.Cleanup(kept.Stop)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport}
		from := func(path string, want ...string) {
			t.Helper()
			f.eventually(func() error {
				seen := map[string]bool{}
				for range 20 {
					got, err := e.answer(client, address, asks{path: path})
					if err != nil {
						return err
					}
					words := strings.Fields(got + " -")
					seen[words[1]] = words[0] == "200"
				}
				for _, name := range want {
					if !seen[name] {
						return fmt.Errorf("%s gets nothing: %v", name, seen)
					}
				}
				if len(seen) != len(want) {
					return fmt.Errorf("%v answer, want %v", seen, want)
				}
				return nil
			})
		}
		from("/plain", "one", "two")
		from("/grpc", "three", "four")
		two.ill.Store(true)
		three.ill.Store(true)
		from("/plain", "one")
		from("/grpc", "four")
		two.ill.Store(false)
		three.ill.Store(false)
		from("/plain", "one", "two")
		from("/grpc", "three", "four")

		// Each of these makes clusters or routes of another kind, with nobody to notice.
		for i, routes := range []string{
			"- {prefix: /a, hosts: [a.example], upstream: \"127.0.0.1:1\"}\n",
			fmt.Sprintf("- {prefix: /, headers: [{name: \":never\", exact: a}], upstream: %q}\n", f.upstream.Address()),
			fmt.Sprintf("- {prefix: /, methods: [GET], upstreams: [{endpoints: [%q], healthCheck: {interval: 1s}}]}\n", f.upstream.Address()),
			fmt.Sprintf("- {prefix: /b, redirect: {path: /c}}\n- {prefix: /, upstreams: [{address: %q, healthCheck: {interval: 2s}}], retries: {on: [reset]}}\n", f.upstream.Address()),
		} {
			f.write("web.yaml", listener(fmt.Sprintf("- {path: /change/%d, redirect: {path: /it}}\n", i)+routes))
			if i == 1 {
				continue // it is refused, and the one before stays
			}
			f.eventually(func() error {
				noFollow := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				return e.gives(noFollow, address, asks{path: fmt.Sprintf("/change/%d", i), want: "301 http://" + address + "/it"})
			})
			answered := len(kept.Exchanges(0))
			f.eventually(func() error {
				if n := len(kept.Exchanges(answered)); n < 40 {
					return fmt.Errorf("%d requests since", n)
				}
				return nil
			})
		}
		if len(kept.Opened()) == 0 {
			t.Error("no connection was opened")
		}
		for _, c := range kept.Opened() {
			if !c.Closed.IsZero() {
				t.Errorf("a connection was closed: %s", c.Why)
			}
		}
		for _, r := range kept.Exchanges(0) {
			if r.Err != nil || r.Status != http.StatusOK {
				t.Error(r)
			}
		}
		if one.checked.Load() == 0 || four.checked.Load() == 0 {
			t.Error("nobody was asked how it is")
		}
	})
}
