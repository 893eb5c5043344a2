package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRebinding(t *testing.T) {
	h := Local(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:19000": 200, "127.0.0.1": 200, "[::1]:19000": 200, "[::1]": 200, "localhost:19000": 200, "LOCALHOST.": 200,
		"wasmxds.localhost:19000": 200, "10.0.0.1:1": 200,
		"example.com:19000": 421, "example.com": 421, "localhost.example.com:19000": 421, "127.0.0.1.example.com": 421, "notlocalhost": 421,
	} {
		r, w := httptest.NewRequest("GET", "/api/v1/status", nil), httptest.NewRecorder()
		r.Host = host
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}
