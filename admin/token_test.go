package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestToken(t *testing.T) {
	const secret = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret + "\n")
	tok, err := NewToken(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := tok.Ask(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	ask := func(path, authorization string) int {
		r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		h.ServeHTTP(w, r)
		if w.Code == http.StatusUnauthorized && len(w.Header().Values("WWW-Authenticate")) != 2 {
			t.Errorf("%s: browsers are not told to ask for it: %v", path, w.Header())
		}
		return w.Code
	}
	basic := func(password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth("anyone", password)
		return r.Header.Get("Authorization")
	}
	for authorization, want := range map[string]int{
		"":                             401,
		"Bearer " + secret:             200,
		"bearer  " + secret:            200,
		"Bearer " + secret + "0":       401,
		"Bearer " + secret[:15]:        401,
		"Bearer":                       401,
		secret:                         401,
		"Basic " + secret:              401,
		basic(secret):                  200,
		basic("fedcba9876543210"):      401,
		"Bearer " + secret + ", other": 401,
	} {
		for _, path := range []string{"/", "/api/v1/status", "/metrics", "/healthz/", "/debug/pprof/"} {
			if got := ask(path, authorization); got != want {
				t.Errorf("%s with %q: %d, want %d", path, authorization, got, want)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := ask(path, ""); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
	write("fedcba9876543210") // the next one takes effect at once
	if old, fresh := ask("/", "Bearer "+secret), ask("/", "Bearer fedcba9876543210"); old != 401 || fresh != 200 {
		t.Errorf("after a change: the old one %d, the new one %d", old, fresh)
	}
	for _, bad := range []string{"", "short"} { // an empty file must not admit an empty token
		write(bad)
		if got := ask("/", basic(bad)); got != 401 {
			t.Errorf("token %q: %d", bad, got)
		}
		if _, err := NewToken(file, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("token %q: no error", bad)
		}
	}
}
