package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func routesExample(t *testing.T, modules string) {
	f := newExample(t, modules, "routes")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs("hello")
	e.runs("checkout-header")
	for path, want := range map[string][2]string{"/": {"hello world"}, "/healthz": {}, "/api/x": {"hello api"}, "/checkout": {"hello world", "1"}} {
		got := e.get("shop", path).reached
		for i, header := range []string{"X-My-Custom-Header", "X-Checkout"} {
			if values := got.Values(header); strings.Join(values, ",") != want[i] {
				t.Errorf("%s: the upstream got %s %q, want %q", path, header, values, want[i])
			}
		}
	}
}

// accessLogExample has requests that are quick, slow and broken, and finds the latter two
// in Envoy's log.
func accessLogExample(t *testing.T, modules string) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(600 * time.Millisecond) // longer than the example takes for slow
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(upstream.Close)
	for _, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			f := newExample(t, modules, "accesslog", "127.0.0.1:9000", upstream.Listener.Addr().String())
			f.serve()
			e := f.envoy(combination{envoy, "delta"}, "edge-1")
			e.runs("slowlog")
			for _, path := range []string{"/", "/slow?token=secret", "/broken", "/none"} {
				e.get("web", path)
			}
			quick := map[string]bool{"/": true, "/none": true}
			f.eventually(func() error {
				if n, logged := e.count("web.requests"), e.count("web.logged"); n != 4 || logged < 2 {
					return fmt.Errorf("%d requests were counted and %d logged, want 4 and 2", n, logged)
				}
				return nil
			})
			log, err := os.ReadFile(e.Log())
			must(t, err)
			lines := map[string]string{}
			for line := range bytes.Lines(log) {
				_, said, ok := bytes.Cut(line, []byte("slowlog: "))
				if !ok {
					continue
				}
				var entry struct {
					Method, Path string
					Status, MS   int
				}
				must(t, json.Unmarshal(said, &entry))
				if quick[entry.Path] && entry.MS >= 500 {
					continue // the machine was busy
				}
				lines[entry.Path] = fmt.Sprint(entry.Method, " ", entry.Status)
			}
			if want := map[string]string{"/broken": "GET 503", "/slow": "GET 200"}; !maps.Equal(lines, want) {
				t.Errorf("Envoy's log has %v, want %v", lines, want)
			}
		})
	}
}
