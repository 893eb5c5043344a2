package admin

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// secretFilter is someFilter with a configuration from a Secret.
func secretFilter(version, value string) *module.Filter {
	f := someFilter(version)
	d := *f.Definition
	d.Config, d.ConfigSecret = definition.TextConfig(value), &definition.SecretKey{Name: "keys", Key: "json"}
	f.Definition, f.Wanted = &d, &d
	return f
}

// TestSecretIsNotShown checks that a filter's page shows that its secret
// configuration has changed, and that no page and no document has the value.
func TestSecretIsNotShown(t *testing.T) {
	s := newServer(someFleet())
	for i, value := range []string{"canary-1", "canary-2"} {
		l := someLoaded()
		v := []string{"b2", "c3"}[i]
		l.Set, l.Catalog = &module.Set{Filters: []*module.Filter{secretFilter("b2", value)}}, catalog{"hello": v}
		s.Loaded(l)
	}
	h := s.Handler()
	for _, path := range []string{"/", "/filters", "/filters/hello", "/filters/hello?from=b2&to=c3", "/filters/hello?to=b2", "/envoys", "/rollouts", "/metrics", "/api/v1/status", "/api/v1/rollouts"} {
		code, text := get(t, h, path)
		if strings.Contains(text, "canary") || code == 500 {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text := get(t, h, "/filters/hello?from=b2&to=c3"); code != 200 || !strings.Contains(text, "# the value in Secret keys, key json is another one than before") || !strings.Contains(text, "configFrom") {
		t.Errorf("the change can't be seen: %d %s", code, text)
	}
}

// TestSecretService checks that only clients with a token or a certificate get
// a service whose configuration comes from a Secret.
func TestSecretService(t *testing.T) {
	token := func(value string) *Token {
		t.Helper()
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := NewToken(file, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	const reading, operating = "the token to read", "the token to operate"
	certified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	for _, c := range []struct {
		what      string
		operators Operators
		shown     string
		tls       *tls.ConnectionState
		secret    bool
		code      int
	}{
		{what: "nothing is asked for", secret: true, code: 403},
		{what: "nothing is asked for, nothing is secret", code: 200},
		{what: "a token that nobody has asked for", shown: reading, secret: true, code: 403},
		{what: "the token", operators: Operators{Reading: token(reading)}, shown: reading, secret: true, code: 200},
		{what: "another token", operators: Operators{Reading: token(reading)}, shown: operating, secret: true, code: 403},
		{what: "the token of operators", operators: Operators{Token: token(operating)}, shown: operating, secret: true, code: 200},
		{what: "no token of operators", operators: Operators{Token: token(operating)}, secret: true, code: 403},
		{what: "TLS without a certificate", tls: new(tls.ConnectionState), secret: true, code: 403},
		{what: "a certificate", tls: certified, secret: true, code: 200},
	} {
		s := New(Options{Fleet: someFleet(), Operators: c.operators})
		f := secretFilter("b2", "canary")
		f.Definition.Place.At = definition.Service
		if !c.secret {
			f.Definition.ConfigSecret = nil
		}
		s.Loaded(Loaded{Set: &module.Set{Filters: []*module.Filter{f}}, Catalog: catalog{}})
		r := httptest.NewRequest("GET", "/api/v1/services/hello", nil)
		r.TLS = c.tls
		if c.shown != "" {
			r.Header.Set("Authorization", "Bearer "+c.shown)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		text := w.Body.String()
		if w.Code != c.code || strings.Contains(text, "canary") != (c.code == 200) || c.code == 403 && !strings.Contains(text, "start xds-server with --admin-token-file") {
			t.Errorf("%s: %d %s", c.what, w.Code, text)
		}
	}
}
