// Package admin shows people and programs the state of the fleet: the status
// document, health and readiness, and the pages.
//
// Start with [New], call [Server.Loaded] for each set of definitions, and serve
// [Server.Handler]. Only [Operators] may change anything, with commands to
// changes that are in progress; everything else is read-only. A Server is safe
// for concurrent use and starts no goroutine.
package admin

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Loaded is the state of the definitions: what the directory contains, how far
// it has come, and the problems of all stages.
type Loaded struct {
	Set      *module.Set          // of the directory; nil: nothing is known yet
	Base     *module.Set          // in force everywhere, without changes in progress; nil: the same as Set
	Catalog  Catalog              // of Base
	Problems []definition.Problem // of every stage
	Files    int
	Changed  time.Time // when the newest change was seen
	Held     Held      // removal that is held back; zero: none
}

// Options are the options of a Server.
type Options struct {
	Version  string // of xds-server
	Fleet    Fleet
	Own      Fleet   // only the Envoys of this server, for /metrics; nil: the same as Fleet
	Modules  Modules // nil: the exports of modules are not shown
	Sources  Sources // for /metrics
	Pprof    bool    // serve /debug/pprof/
	Rollouts Mover   // nil: changes go everywhere at once, and are not shown
	// Replicas returns all servers of a shared state. It is nil if the state is
	// not shared.
	Replicas func() []Replica
	// Recorder records requests of Envoys. It is nil if they report none.
	Recorder Recorder
	Profiles Profiler // nil: filters have no profiles
	// Release confirms a removal that is held back, by its id. It is nil if
	// removals are not held back.
	Release   func(ctx context.Context, id string) error
	Start     Start            // shown on empty pages
	Operators Operators        // who may change something; the zero value: nobody
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: discard
}

// Server serves HTTP requests about the fleet.
type Server struct {
	opts     Options
	started  time.Time
	loaded   atomic.Pointer[Loaded]
	changes  atomic.Uint64 // counts changes of anything but the fleet: definitions, draining
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins

	history      history
	metrics      *metrics
	all, own     *sight
	moved        moved
	pages        pages
	eventStreams chan struct{} // one token for each open stream
}

// New returns a Server that is not ready until the first call of
// [Server.Loaded].
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Operators.Log == nil {
		opts.Operators.Log = opts.Log
	}
	opts.Operators.key = newFormKey()
	all := newSight(opts.Fleet)
	own := all
	if opts.Own != nil {
		own = newSight(opts.Own)
	}
	return &Server{
		opts: opts, started: opts.Now(), all: all, own: own,
		metrics:      newMetrics(),
		drained:      make(chan struct{}),
		pages:        parsePages(opts.Now),
		moved:        moved{seed: maphash.MakeSeed()},
		eventStreams: make(chan struct{}, maxEventStreams),
	}
}

// Loaded sets the set that has been published to the fleet, or new problems
// with the previous one.
func (s *Server) Loaded(l Loaded) {
	s.history.add(&l, s.opts.Now())
	s.metrics.filters(s.loaded.Swap(&l), &l)
	s.changes.Add(1)
}

// ready reports whether a whole set has been published.
func (s *Server) ready() bool {
	l := s.loaded.Load()
	return l != nil && l.Set != nil
}

// inForce returns the set that is in force everywhere.
func (l *Loaded) inForce() *module.Set {
	if l.Base != nil {
		return l.Base
	}
	return l.Set
}

// version returns the served version of a filter, or "" if there is none.
func (l *Loaded) version(filter string) string {
	if f := l.Catalog.Filter(filter); f != nil {
		return f.Version
	}
	return ""
}

// Drain ends readiness permanently and ends the pages' event streams, so that
// new clients go elsewhere.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		s.changes.Add(1)
		close(s.drained)
	}
}

// Handler returns the handler for all paths of the admin address.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", s.serveStatus)
	s.handleRollouts(mux)
	mux.HandleFunc("POST /api/v1/recordings", s.opts.Operators.only(s.serveRecord))
	mux.HandleFunc("GET /api/v1/profiles/{name...}", s.serveProfile)
	mux.HandleFunc("GET /api/v1/services/{name...}", s.serveService)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	s.handlePages(mux)
	s.handleMetrics(mux)
	if s.opts.Pprof {
		handlePprof(mux)
	}
	return mux
}
