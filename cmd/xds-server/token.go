package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
)

// token is the secret that the admin address asks for: as a bearer's, or as a
// password, since that is what browsers can ask their users for. The file is
// read at each request, so it can be changed at any time.
type token struct {
	file string
	log  *slog.Logger
}

// A token is to be too long to be guessed; a file of more is something else.
const (
	minToken = 16
	maxToken = 4 << 10
)

func newToken(file string, log *slog.Logger) (*token, error) {
	t := &token{file, log}
	_, err := t.read()
	return t, err
}

func (t *token) read() ([]byte, error) {
	b, err := readUpTo(t.file, maxToken)
	if err != nil {
		return nil, fmt.Errorf("--admin-token-file: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) < minToken {
		return nil, fmt.Errorf("--admin-token-file %s: %d bytes, needs at least %d", t.file, len(b), minToken)
	}
	return b, nil
}

// ask lets those through who know the token. Health and readiness are for all:
// they tell nothing, and what asks for them often can't show a token.
func (t *token) ask(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		want, err := t.read()
		if err != nil {
			t.log.Error("the token can't be read, nobody gets to the admin address", "error", err)
		}
		if err != nil || !same(shown(r), want) {
			w.Header().Set("WWW-Authenticate", `Basic realm="xds-server", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="xds-server"`)
			http.Error(w, "needs the token of --admin-token-file, as a bearer's or as a password", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shown is the token in a request.
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

// same takes as long whatever is in a.
func same(a, b []byte) bool {
	sumA, sumB := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(sumA[:], sumB[:]) == 1
}

// bearer shows a token from a file.
type bearer struct {
	file string
	next http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(b.file)
	if err != nil {
		return nil, fmt.Errorf("read --admin-token-file: %w", err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	return b.next.RoundTrip(r)
}
