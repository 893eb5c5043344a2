// Package admin tells people and programs what the fleet runs: the status
// document, health and readiness, and the page that shows both.
//
// Start with [New], tell it of each set of definitions with [Server.Loaded],
// and serve [Server.Handler]. What changes something, commands to changes that
// are on their way, is for [Operators] alone; all else is read-only. A Server is
// safe for concurrent use and starts no goroutine.
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

// Loaded is what the directory says, how far it has come, and all that is wrong
// with it on the way there.
type Loaded struct {
	Set      *module.Set          // as the directory says; nil: nothing is known yet
	Base     *module.Set          // as it is everywhere by now, which a change that is on its way is not; nil: it is Set
	Catalog  Catalog              // of Base
	Problems []definition.Problem // of every stage
	Files    int
	Changed  time.Time // when the newest change was seen
	Held     Held      // a removal that is held back; zero: none
}

// Options are what a Server is made of.
type Options struct {
	Version  string // of xds-server
	Fleet    Fleet
	Own      Fleet   // the Envoys of this server alone, which /metrics tells of; nil: there are no others
	Modules  Modules // nil: what modules export is not shown
	Sources  Sources // of /metrics
	Pprof    bool    // serve /debug/pprof/
	Rollouts Mover   // nil: changes go everywhere at once, and are not told of
	// Replicas are all servers of a state that is shared; nil: it is not.
	Replicas func() []Replica
	// Release lets a removal go that is held back, by its id; nil: none is held.
	Release   func(ctx context.Context, id string) error
	Start     Start            // what empty pages tell
	Operators Operators        // who may change something; nobody if zero
	Now       func() time.Time // time.Now if nil
	Log       *slog.Logger     // nowhere if nil
}

// Server answers HTTP requests about the fleet.
type Server struct {
	opts     Options
	started  time.Time
	loaded   atomic.Pointer[Loaded]
	changes  atomic.Uint64 // of what is not the fleet's: definitions, draining
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins

	history      history
	metrics      *metrics
	all, own     *sight
	moved        moved
	pages        pages
	eventStreams chan struct{} // one for each that is open
}

// New makes a Server that is not ready yet: the first [Server.Loaded] makes
// it so.
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

// Loaded tells of a set that has been published to the fleet, or of new
// problems with what has been before.
func (s *Server) Loaded(l Loaded) {
	s.history.add(&l, s.opts.Now())
	s.loaded.Store(&l)
	s.changes.Add(1)
}

// ready says whether a whole set has been published.
func (s *Server) ready() bool {
	l := s.loaded.Load()
	return l != nil && l.Set != nil
}

// inForce is the set that is everywhere.
func (l *Loaded) inForce() *module.Set {
	if l.Base != nil {
		return l.Base
	}
	return l.Set
}

// version is that of what is served of a filter; "" where nothing is.
func (l *Loaded) version(filter string) string {
	if f := l.Catalog.Filter(filter); f != nil {
		return f.Version
	}
	return ""
}

// Drain turns readiness off for good and ends the pages' event streams: new
// clients are to go elsewhere.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		s.changes.Add(1)
		close(s.drained)
	}
}

// Handler serves all paths of the admin address.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", s.serveStatus)
	s.handleRollouts(mux)
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
