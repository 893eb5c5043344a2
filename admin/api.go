package admin

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"

	"wasmxds/printable"
)

// Default and maximum number of nodes in one response.
const (
	pageNodes = 100
	maxNodes  = 1000
)

// serveStatus handles GET /api/v1/status?limit=&after=.
func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	st := s.status()
	if st.Rollouts, st.RolledBack, err = s.unfinished(r.Context()); err != nil {
		answerRefusal(w, err) // without it, changes in progress would look finished
		return
	}
	if nodes, next := s.opts.Fleet.Nodes(r.URL.Query().Get("after"), limit); len(nodes) > 0 {
		st.Nodes, st.Next = nodes, next
	}
	s.sendJSON(w, r, st)
}

func limitOf(r *http.Request) (int, error) {
	given := r.URL.Query().Get("limit")
	if given == "" {
		return pageNodes, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("limit=%s: a number from 1 to %d is needed", given, maxNodes)
	}
	return min(n, maxNodes), nil
}

// serveReady responds with 200 from the first whole set on, until
// [Server.Drain].
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.draining.Load():
		answer(w, http.StatusServiceUnavailable, "draining: xds-server is about to end")
	case !s.ready():
		answer(w, http.StatusServiceUnavailable, "starting: the definitions are not loaded yet")
	default:
		answer(w, http.StatusOK, "ready")
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	io.WriteString(w, printable.Text(text)+"\n")
}

func handlePprof(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
