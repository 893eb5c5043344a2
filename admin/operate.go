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

// Operators are those who may change something. Their right is one of its own:
// who may read what the fleet runs may not for that reason change it, and nor
// may whoever is on this machine. The zero value is nobody.
type Operators struct {
	Token *Token // gives the right to whoever shows it; nil: none does
	// Certificate gives the name of an operator whose verified certificate this
	// is; "": it is none's. nil: no certificate gives the right.
	Certificate func(*x509.Certificate) string
	Reading     *Token // gives the right to read alone, so that a refusal can say so; nil: none is asked for
	Log         *slog.Logger

	key *formKey
}

// refusal is why a request is not served, and what to do.
type refusal struct {
	code int
	text string
}

// only lets requests through that an operator makes knowingly: a program that
// shows the token or a certificate, and no page from elsewhere. next is told
// who it is.
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

// note logs who was refused.
func (o *Operators) note(r *http.Request, why *refusal) {
	o.Log.Warn("refused to change anything", "peer", r.RemoteAddr, "path", r.URL.Path, "code", why.code, "reason", why.text)
}

// none says whether nobody may change anything.
func (o *Operators) none() bool { return o.Token == nil && o.Certificate == nil }

// who names the operator that makes a request and shows a token.
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
		reading, _ = o.Reading.read() // who may read is not for here to say
	}
	switch {
	case len(token) == 0:
		return "", &refusal{http.StatusUnauthorized, "to change something, show the token of --operate-token-file as a bearer's; xds-server rollout does with --admin-token-file"}
	case same(want, reading):
		return "", &refusal{http.StatusForbidden, "the token of operators is also the one for reading, so it gives no right: put another one into the file of --operate-token-file"}
	case same(token, want):
		return "token", nil
	case same(token, reading):
		return "", &refusal{http.StatusForbidden, "this token is for reading alone; to change something, show the one of --operate-token-file"}
	}
	return "", &refusal{http.StatusUnauthorized, "this is not the token of --operate-token-file"}
}

// nameOf names a client's certificate to its owner.
func nameOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "who shows no certificate"
	}
	return fmt.Sprintf("the client certificate %q", r.TLS.VerifiedChains[0][0].Subject.CommonName)
}

// elsewhere refuses what a browser may send on behalf of a page that is not
// ours: one whose name was made to lead here (DNS rebinding), or one that posts
// to this address (CSRF).
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

// isOurs says whether the Host header can be this server's: by TLS the name
// that its certificate was asked for, on loopback one that only this machine
// has. Elsewhere without TLS (--insecure), any will do.
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
	return scheme == "http" || scheme == "https" // a proxy may speak TLS for us
}

// isJSON says whether a request has a content type that a page can't send to
// another site without asking first.
func isJSON(r *http.Request) bool {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false
	}
	kind, _, err := mime.ParseMediaType(types[0])
	return err == nil && kind == "application/json"
}
