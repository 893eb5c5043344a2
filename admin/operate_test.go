package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	readSecret    = "reads-0123456789abcdef"
	operateSecret = "operates-0123456789abcdef"
)

// tokenOf returns a token in a file of its own.
func tokenOf(t *testing.T, secret string) *Token {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tok, err := NewToken(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// asked makes a request like xds-server rollout, modified by change, and
// returns the status, the text and the operator that was admitted.
func asked(o Operators, change func(*http.Request)) (code int, text, by string) {
	o.Log, o.key = slog.New(slog.DiscardHandler), newFormKey()
	h := o.only(func(w http.ResponseWriter, r *http.Request, who string) { by = who })
	r, w := httptest.NewRequest("POST", "/api/v1/rollouts/a/pause", strings.NewReader("{}")), httptest.NewRecorder()
	r.Host = "127.0.0.1:19000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+operateSecret)
	change(r)
	h.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body), by
}

// TestWhoMayOperate checks that only the token of operators, or an operator's
// certificate, permits changes.
func TestWhoMayOperate(t *testing.T) {
	read, operate := tokenOf(t, readSecret), tokenOf(t, operateSecret)
	gone := tokenOf(t, operateSecret)
	if err := os.Remove(gone.file); err != nil {
		t.Fatal(err)
	}
	byName := func(c *x509.Certificate) string {
		if c.Subject.CommonName == "ops" {
			return "spiffe://example.com/ops"
		}
		return ""
	}
	bearer := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	cert := func(name string, chains bool) func(*http.Request) {
		return func(r *http.Request) {
			leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
			if chains {
				r.TLS.VerifiedChains = [][]*x509.Certificate{{leaf}}
			}
			r.Header.Del("Authorization")
		}
	}
	for _, c := range []struct {
		name string
		o    Operators
		r    func(*http.Request)
		code int
		want string // in the response; for 200, the operator
	}{
		{"nobody may", Operators{}, bearer("Bearer " + operateSecret), 403, "start xds-server with --operate-token-file"},
		{"nobody may, and who reads may not either", Operators{Reading: read}, bearer("Bearer " + readSecret), 403, "nothing can be changed by HTTP"},
		{"the token", Operators{Token: operate}, bearer("Bearer " + operateSecret), 200, byToken},
		{"as a password", Operators{Token: operate}, func(r *http.Request) { r.SetBasicAuth("ann", operateSecret) }, 200, byToken},
		{"none", Operators{Token: operate}, func(r *http.Request) { r.Header.Del("Authorization") }, 401, "show the token"},
		{"an empty one", Operators{Token: operate}, bearer("Bearer "), 401, "show the token"},
		{"another", Operators{Token: operate}, bearer("Bearer " + operateSecret + "0"), 401, "is not the token"},
		{"a part of it", Operators{Token: operate}, bearer("Bearer " + operateSecret[:16]), 401, "is not the token"},
		{"in the URL", Operators{Token: operate}, func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "token=" + operateSecret
		}, 401, "show the token"},
		{"the one for reading", Operators{Token: operate, Reading: read}, bearer("Bearer " + readSecret), 403, "for reading alone"},
		{"one token for both", Operators{Token: operate, Reading: operate}, bearer("Bearer " + operateSecret), 403, "another one"},
		{"its file is gone", Operators{Token: gone}, bearer("Bearer " + operateSecret), 503, "can't be read"},
		{"its file is gone, and nothing is shown", Operators{Token: gone}, bearer(""), 503, "can't be read"},
		{"a certificate", Operators{Certificate: byName}, cert("ops", true), 200, "spiffe://example.com/ops"},
		{"a certificate that is not verified", Operators{Certificate: byName}, cert("ops", false), 403, "may only read"},
		{"a reader's certificate", Operators{Certificate: byName}, cert("ann", true), 403, `"ann" may only read: name it under operators`},
		{"a reader's certificate, where there is a token", Operators{Certificate: byName, Token: operate}, cert("ann", true), 401, "show the token"},
		{"no TLS", Operators{Certificate: byName}, bearer("Bearer " + operateSecret), 403, "may only read"},
	} {
		code, text, by := asked(c.o, c.r)
		if code == 200 {
			text = by
		} else if by != "" {
			t.Errorf("%s: %d, but %s was let through", c.name, code, by)
		}
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.name, code, text, c.code, c.want)
		}
	}
}

// TestNothingIsChangedFromElsewhere checks that another site's page can't
// change anything by making a browser send requests here, even if it knows the
// token.
func TestNothingIsChangedFromElsewhere(t *testing.T) {
	o := Operators{Token: tokenOf(t, operateSecret)}
	set := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == "Host" {
					r.Host = pairs[i+1]
					continue
				}
				r.Header.Add(pairs[i], pairs[i+1])
			}
		}
	}
	over := func(host, sni string) func(*http.Request) {
		return func(r *http.Request) {
			r.Host, r.TLS = host, &tls.ConnectionState{ServerName: sni}
		}
	}
	at := func(ip string, more func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(ip), Port: 19000})
			*r = *r.WithContext(ctx)
			more(r)
		}
	}
	typed := func(types ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Content-Type"] = types }
	}
	for _, c := range []struct {
		name string
		r    func(*http.Request)
		code int
	}{
		{"a program", set(), 200},
		{"our page", set("Origin", "http://127.0.0.1:19000", "Sec-Fetch-Site", "same-origin"), 200},
		{"our page, by name", set("Host", "LocalHost:19000", "Origin", "http://localhost:19000"), 200},
		{"our page behind a proxy", set("Origin", "https://127.0.0.1:19000"), 200},
		{"another site", set("Origin", "http://evil.example"), 403},
		{"another site that says it is not", set("Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"), 403},
		{"another site without a name", set("Origin", "null"), 403},
		{"another port", set("Origin", "http://127.0.0.1:8080"), 403},
		{"another name for it", set("Origin", "http://localhost:19000"), 403},
		{"no scheme", set("Origin", "127.0.0.1:19000"), 403},
		{"two origins", set("Origin", "http://127.0.0.1:19000", "Origin", "http://evil.example"), 403},
		{"an empty one", set("Origin", ""), 403},
		{"a site beside it", set("Sec-Fetch-Site", "same-site"), 403},
		{"cross-site", set("Sec-Fetch-Site", "cross-site"), 403},
		{"a name that leads here", set("Host", "evil.example:19000", "Origin", "http://evil.example:19000"), 421},
		{"without an origin", set("Host", "evil.example"), 421},
		{"a name like ours", set("Host", "localhost.evil.example"), 421},
		{"no name", set("Host", ""), 421},
		{"a name at an address of others", at("10.0.0.5", set("Host", "xds-server:19000")), 200},
		{"a name at loopback", at("127.0.0.1", set("Host", "xds-server:19000")), 421},
		{"the certificate's name", over("xds.example.com:19000", "xds.example.com"), 200},
		{"another than the certificate's", over("evil.example", "xds.example.com"), 421},
		{"a name that TLS was not told", over("evil.example", ""), 421},
		{"an address by TLS", over("10.0.0.5:19000", ""), 200},
		{"over TLS, from a page without", func(r *http.Request) {
			over("10.0.0.5:19000", "")(r)
			set("Origin", "http://10.0.0.5:19000")(r)
		}, 403},
		{"with a charset", typed("application/json; charset=utf-8"), 200},
		{"a form", typed("application/x-www-form-urlencoded"), 415},
		{"a form with files", typed("multipart/form-data; boundary=x"), 415},
		{"plain text", typed("text/plain"), 415},
		{"plain text that says it is JSON", typed("text/plain; application/json"), 415},
		{"two types", typed("text/plain", "application/json"), 415},
		{"two types in one", typed("application/json, text/plain"), 415},
		{"none", typed(), 415},
		{"hardly any", typed(""), 415},
	} {
		code, text, by := asked(o, c.r)
		if code != c.code || (by != "") != (code == 200) {
			t.Errorf("%s: %d %q, let through %q; want %d", c.name, code, text, by, c.code)
		}
	}
}

// TestOperatorsMayRead checks that the token of operators also opens the page,
// which is the same as for others.
func TestOperatorsMayRead(t *testing.T) {
	read, operate := tokenOf(t, readSecret), tokenOf(t, operateSecret)
	h := read.Ask(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), operate)
	for token, want := range map[string]int{readSecret: 200, operateSecret: 200, "": 401, operateSecret + "0": 401} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", token, w.Code, want)
		}
	}
	if err := os.WriteFile(operate.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("an empty file lets everyone in: %d", w.Code)
	}
}
