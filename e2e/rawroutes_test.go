package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestRawRoutes: a raw listener gets a filter and loses it again, each time together with
// the route configuration that it refers to. No request meets the routes that were
// published with the filter without it.
func TestRawRoutes(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newWebFleet(t, "")
		f.remove("web.yaml")
		host, port, err := net.SplitHostPort(f.upstream.Address())
		must(t, err)
		module := wasmtest.Filter{Header: "x-hello", Value: "1"}.Module()
		uri := f.origin.Put("hello.wasm", module)
		publish := func(routes string, filters ...string) {
			router := "      - name: envoy.filters.http.router"
			listener := strings.Replace(raw, router, joined(filters)+router, 1)
			f.write("raw.yaml", strings.NewReplacer("CONNECT", "1s", "HOST", host, "PORT", port, "ROUTES", routes).Replace(listener))
		}
		publish("without")
		f.serve()
		e := f.envoy(c, "edge-1")
		e.ready()
		address := e.address("web")

		for range rounds() {
			publish("with", wasmOf("my.wasm", uri, harness.SHA256(module)))
			with := requestsUntil(t, address, "with", "1")
			publish("without")
			without := requestsUntil(t, address, "without", "")
			t.Logf("%d requests until it was there, %d until it was gone", with, without)
		}
	})
}

// requestsUntil sends requests, each on a new connection, until the answers have the headers
// of routes and of a filter ("": none). None may fail, or have the routes that belong to the
// filter without it, other than one that the previous listener accepted just before it was
// replaced: until they close, its connections use the new routes with its filters. It returns
// how many it sent.
func requestsUntil(t *testing.T, address, routes, filter string) (sent int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wrong := 0
	for began := time.Now(); ; sent++ {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
		must(t, err)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("request %d, after %v: %v", sent, time.Since(began), err)
		}
		reached, err := io.ReadAll(resp.Body) // the headers of the request, at the upstream
		must(t, err)
		must(t, resp.Body.Close())
		gotRoutes, gotFilter := resp.Header.Get("x-routes"), ""
		if bytes.Contains(bytes.ToLower(reached), []byte("x-hello: 1")) {
			gotFilter = "1"
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: status %d", sent, resp.StatusCode)
		}
		if gotRoutes == "with" && gotFilter == "" {
			wrong++
			t.Logf("request %d, after %v, met the routes without the filter", sent, time.Since(began))
		}
		if gotRoutes == routes && gotFilter == filter {
			if wrong > 1 {
				t.Errorf("%d of %d requests met the routes without the filter", wrong, sent+1)
			}
			return sent + 1
		}
	}
}
