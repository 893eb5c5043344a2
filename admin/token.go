package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"wasmxds/files"
)

// Token is the secret of the admin address. It may be presented as a bearer
// token, or as a password, which browsers can prompt for. The file is read at
// each request, so it can be changed at any time.
type Token struct {
	file string
	log  *slog.Logger
}

// A token must be too long to be guessed. A file that is larger is something
// else. Both in bytes.
const (
	minToken = 16
	maxToken = 4 << 10
)

// NewToken returns a Token. It returns an error if the token can't be read.
func NewToken(file string, log *slog.Logger) (*Token, error) {
	t := &Token{file, log}
	_, err := t.read()
	return t, err
}

func (t *Token) read() ([]byte, error) {
	b, err := files.Read(t.file, maxToken)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimSpace(b); len(b) < minToken {
		return nil, fmt.Errorf("%s: %d bytes, needs at least %d", t.file, len(b), minToken)
	}
	return b, nil
}

// Ask passes on requests with the token, or with that of operators, which may
// be nil: users who may change something may also read. Health and readiness
// require no token: they reveal nothing, and probes often can't present one.
func (t *Token) Ask(next http.Handler, operators *Token) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		want, err := t.read()
		if err != nil {
			t.log.Error("the token can't be read, nobody gets to the admin address", "error", err)
		}
		if (err != nil || !same(shown(r), want)) && !operators.shownIn(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="xds-server", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="xds-server"`)
			http.Error(w, "needs the token, as a bearer's or as a password", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shownIn reports whether a request presents the token.
func (t *Token) shownIn(r *http.Request) bool {
	if t == nil {
		return false
	}
	want, err := t.read()
	return err == nil && same(shown(r), want)
}

// shown returns the token in a request.
func shown(r *http.Request) []byte {
	if _, password, ok := r.BasicAuth(); ok {
		return []byte(password)
	}
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return nil
	}
	return []byte(strings.TrimSpace(value))
}

// same compares in constant time.
func same(a, b []byte) bool {
	sumA, sumB := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(sumA[:], sumB[:]) == 1
}

// Bearer is a transport for [Client] that presents the token in a file.
type Bearer struct {
	File string
	Next http.RoundTripper
}

func (b *Bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := files.Read(b.File, maxToken)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	return b.Next.RoundTrip(r)
}
