package harness

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// Upstream is a server behind Envoy that answers each request with the
// headers it came with, in the form they have in HTTP/1, and one more,
// Upstream, with its address.
//
// A request with ?stream=N gets a line every 10 ms, or every ?pause=1s, N of
// them, after that.
type Upstream struct{ site *site }

// StartUpstream returns an upstream that listens.
func StartUpstream() (*Upstream, error) {
	s, err := serve(http.HandlerFunc(echo))
	return &Upstream{site: s}, err
}

// Address is host:port.
func (u *Upstream) Address() string { return u.site.addr }

// Close ends the upstream.
func (u *Upstream) Close() error { return u.site.close() }

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	r.Header.Set("Upstream", r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	if err := r.Header.Write(w); err != nil {
		return
	}
	lines, err := strconv.Atoi(r.URL.Query().Get("stream"))
	if err != nil {
		return
	}
	pause, err := time.ParseDuration(r.URL.Query().Get("pause"))
	if err != nil {
		pause = 10 * time.Millisecond
	}
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range lines {
		if _, err := w.Write([]byte("Line: 1\r\n")); err != nil || flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
