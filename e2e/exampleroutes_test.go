package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
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
			f.eventually(func() error {
				if n, logged := e.count("web.requests"), e.count("web.logged"); n != 4 || logged != 2 {
					return fmt.Errorf("%d requests were counted and %d logged, want 4 and 2", n, logged)
				}
				return nil
			})
			log, err := os.ReadFile(e.Log())
			must(t, err)
			var lines []string
			for line := range bytes.Lines(log) {
				if _, said, ok := bytes.Cut(line, []byte("slowlog: ")); ok {
					lines = append(lines, string(said))
				}
			}
			slices.Sort(lines)
			if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"method":"GET","path":"/broken","status":503,"ms":`) ||
				!strings.HasPrefix(lines[1], `{"method":"GET","path":"/slow","status":200,"ms":`) {
				t.Errorf("Envoy's log has %q", lines)
			}
		})
	}
}
