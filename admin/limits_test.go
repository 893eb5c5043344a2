package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReadOnly checks that no methods other than GET and HEAD are accepted,
// except for commands.
func TestReadOnly(t *testing.T) {
	s := newScene(t, 1)
	for _, path := range []string{"/", "/envoys", "/filters/hello", "/api/v1/status", "/metrics", "/healthz", "/readyz", "/events", "/rollouts", "/api/v1/rollouts", "/api/v1/rollouts/a"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			w := httptest.NewRecorder()
			s.Server.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("a=b")))
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

// TestTooManyPages checks that the number of open event streams is limited.
func TestTooManyPages(t *testing.T) {
	s := newScene(t, 1)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() int {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	for i := range maxEventStreams {
		if code := open(); code != http.StatusOK {
			t.Fatalf("stream %d: %d", i, code)
		}
	}
	if code := open(); code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", code)
	}
}
