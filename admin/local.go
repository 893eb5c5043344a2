package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Local lets only requests through that name this machine: a page in a
// browser on it may come from anywhere, and can have its own name lead to
// 127.0.0.1 after it was loaded (DNS rebinding). Then it could read what
// only who is on this machine may.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this address is for this machine alone: ask for it as localhost or 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal says whether a Host header has an address, or a name that only this
// machine has.
func isLocal(hostport string) bool {
	host := hostOf(hostport)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// hostOf is a Host header without port, brackets and the dot at its end.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
