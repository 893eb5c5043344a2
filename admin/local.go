package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Local only passes on requests to a name of this machine: a page in a browser
// on this machine may come from anywhere, and its own host name can be changed
// to 127.0.0.1 after it was loaded (DNS rebinding). Then it could read what
// only users of this machine may.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this address is for this machine alone: ask for it as localhost or 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal reports whether a Host header is an IP address, or a name that always
// refers to this machine.
func isLocal(hostport string) bool {
	host := hostOf(hostport)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// hostOf returns a Host header without port, brackets and trailing dot.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
