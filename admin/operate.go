package admin

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
)

// Operators determines who may change something. This is a separate permission:
// users who may see the state of the fleet may not therefore change it, and nor
// may all users of this machine. The zero value permits nobody.
type Operators struct {
	Token *Token // permits whoever presents it; nil: none
	// Certificate returns the name of the operator with a verified certificate,
	// or "" if it is not an operator's. It may be nil.
	Certificate func(*x509.Certificate) string
	Reading     *Token // permits only reading, so that an error can say so; nil: reading requires no token
	Log         *slog.Logger

	key *formKey
}

// refusal is why a request is denied, and what to do.
type refusal struct {
	code int
	text string
}

// byToken is the operator's name if all that is known is the token.
const byToken = "an operator with the token"

// only passes on requests that an operator makes intentionally: from a program
// with the token or a certificate, and not from another site's page. It passes
// the operator's name to next.
func (o *Operators) only(next func(w http.ResponseWriter, r *http.Request, by string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, refused := "", elsewhere(r)
		if refused == nil {
			by, refused = o.who(r, shown(r))
		}
		if refused == nil && !isJSON(r) {
			refused = &refusal{http.StatusUnsupportedMediaType, "needs Content-Type: application/json, which no page from elsewhere can send unasked"}
		}
		if refused != nil {
			o.refuse(w, r, refused)
			return
		}
		next(w, r, by)
	}
}

func (o *Operators) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	if why.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="xds-server operate"`)
	}
	o.note(r, why)
	answer(w, why.code, why.text)
}

// note logs a denied request.
func (o *Operators) note(r *http.Request, why *refusal) {
	o.Log.Warn("refused to change anything", "peer", r.RemoteAddr, "path", r.URL.Path, "code", why.code, "reason", why.text)
}

// none reports whether nobody may change anything.
func (o *Operators) none() bool { return o.Token == nil && o.Certificate == nil }

// who returns the operator that makes a request with a token.
func (o *Operators) who(r *http.Request, token []byte) (by string, refused *refusal) {
	if o.none() {
		return "", &refusal{http.StatusForbidden, "nothing can be changed by HTTP: start xds-server with --operate-token-file, or name operators in its --policy"}
	}
	if by, _ := o.certified(r); by != "" {
		return by, nil
	}
	if o.Token == nil {
		return "", &refusal{http.StatusForbidden, nameOf(r) + " may only read: name it under operators in the file of --policy"}
	}
	want, err := o.Token.read()
	if err != nil {
		o.Log.Error("the token of operators can't be read, nobody can change anything by it", "error", err)
		return "", &refusal{http.StatusServiceUnavailable, "the file of --operate-token-file can't be read; the log says why"}
	}
	var reading []byte
	if o.Reading != nil {
		reading, _ = o.Reading.read() // errors don't matter here
	}
	switch {
	case len(token) == 0:
		return "", &refusal{http.StatusUnauthorized, "to change something, show the token of --operate-token-file as a bearer's; xds-server rollout does with --admin-token-file"}
	case same(want, reading):
		return "", &refusal{http.StatusForbidden, "the token of operators is also the one for reading, so it gives no right: put another one into the file of --operate-token-file"}
	case same(token, want):
		return byToken, nil
	case same(token, reading):
		return "", &refusal{http.StatusForbidden, "this token is for reading alone; to change something, show the one of --operate-token-file"}
	}
	return "", &refusal{http.StatusUnauthorized, "this is not the token of --operate-token-file"}
}

// nameOf returns a description of a client's certificate for its owner.
func nameOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "who shows no certificate"
	}
	return fmt.Sprintf("the client certificate %q", r.TLS.VerifiedChains[0][0].Subject.CommonName)
}

// elsewhere denies requests that a browser may send for another site's page:
// one whose host name was changed to this server's address (DNS rebinding), or
// one that posts to this address (CSRF).
func elsewhere(r *http.Request) *refusal {
	if !isOurs(r) {
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf("Host: %s is not this server's name: ask for it as localhost, by its address, or by the name in its certificate", r.Host)}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !sameOrigin(r, origin) {
			return &refusal{http.StatusForbidden, fmt.Sprintf("Origin: %s is another site's: only this server's own page may change something", origin)}
		}
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return &refusal{http.StatusForbidden, fmt.Sprintf("Sec-Fetch-Site: %s: only this server's own page may change something", site)}
		}
	}
	return nil
}

// isOurs reports whether the Host header can be this server's: with TLS, the
// name that its certificate was requested for; on loopback, a name of this
// machine. Otherwise, without TLS (--insecure), any name is valid.
func isOurs(r *http.Request) bool {
	if isLocal(r.Host) {
		return r.Host != ""
	}
	if r.TLS != nil {
		return r.TLS.ServerName != "" && strings.EqualFold(hostOf(r.Host), r.TLS.ServerName)
	}
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && !at.IP.IsLoopback()
}

func sameOrigin(r *http.Request, origin string) bool {
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || !strings.EqualFold(host, r.Host) {
		return false
	}
	if r.TLS != nil {
		return scheme == "https"
	}
	return scheme == "http" || scheme == "https" // a proxy may terminate TLS
}

// isJSON reports whether a request has a content type that a page can't send to
// another site without a preflight request.
func isJSON(r *http.Request) bool {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false
	}
	kind, _, err := mime.ParseMediaType(types[0])
	return err == nil && kind == "application/json"
}
