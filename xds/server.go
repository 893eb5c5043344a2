package xds

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/state"
	"wasmxds/xds/swap"
)

// Options configure a Server. The zero value is usable.
type Options struct {
	Log *slog.Logger     // nil: no logging
	Now func() time.Time // nil: time.Now
	// Allow decides whether a stream may belong to a node; nil: every stream may. Its error
	// is sent to the Envoy as PermissionDenied, unless it is a gRPC status itself.
	Allow func(ctx context.Context, n definition.Node) error
	// AllowStatus decides whether a client may read the status of a node (CSDS); nil: every
	// client may.
	AllowStatus func(ctx context.Context, n definition.Node) error
	// Logs begins a stream of access logs of an Envoy, with its first message, and decides
	// by ctx whether it may belong to that Envoy; nil: they are not served.
	Logs func(ctx context.Context, first []byte) (LogStream, error)
	// MaxLogs limits the concurrent streams of access logs; 0: no limit.
	MaxLogs int
	// Swapped is called with the version changes of filters that run on an Envoy; nil: it
	// is not called. It must be fast.
	Swapped func(Swaps)
	// Observe is called with the events of Envoys' streams, in order for each Envoy; nil:
	// it is not called. It must be fast, and must not call the Server.
	Observe func(Observed)
	// State saves the listeners that Envoys were sent, and the versions of filters that
	// have run, for the next process; nil: they are not saved.
	State *state.Writer
	// Shared is the store that State writes to, if other replicas do as well; nil: none do.
	Shared state.Store
	// Own saves the nodes that were served, for the next process at this replica only; nil:
	// State does.
	Own *state.Writer
	// Resources are the options with which the published Catalogs were compiled.
	Resources resource.Options
	// Respare is how long an Envoy must be unchanged before its listeners get back the
	// spare slots that were used up, see [resource.Spares]; 0: they get them only when they
	// are replaced anyway.
	Respare time.Duration
	// CheckInvariants enables checks of each response against the invariants of the swap
	// before it is sent. A response that violates any is logged, and sent.
	CheckInvariants bool
}

// Server serves the streams of all Envoys.
type Server struct {
	log         *slog.Logger
	now         func() time.Time
	allow       func(ctx context.Context, n definition.Node) error
	allowStatus func(ctx context.Context, n definition.Node) error
	swapped     func(Swaps)
	logs        logs
	observed    func(Observed)
	checked     bool // against invariants
	interner    *swap.Interner
	salt        int
	timers      *timers
	proved      *proved
	keeps       bool // State is not nil
	shared      state.Store
	respare     time.Duration
	sent        *sentListeners

	started time.Time

	ready   chan struct{} // closed by the first Publish
	publish chan struct{} // holds a token while there is something to fan out
	ending  chan struct{} // closed when streams must end

	beginning chan struct{} // holds a token for each stream in its first exchange

	fanned uint64 // number of the last publication that was fanned out; used only by fanOut

	mu        sync.Mutex
	published *Publication // nil: nothing yet
	number    uint64       // of published
	clients   map[*client]struct{}
	peers     map[netip.Addr]*peer
	nodes     map[string]*nodeStreams // by node ID
	away      *away
	moved     moved
	left      map[string]left   // by node ID
	sampled   map[string]uint32 // by node ID; see Sample
	closed    bool

	generation atomic.Uint64 // see Generation
	drained    drained
	counters   counters
	turned     turnedAway
	arrival    arrival
	health     *health.Server
}

// counters are the values of the metrics.
type counters struct {
	streams, pushes, bytes, nacks, requests, moved atomic.Int64
	sent, refused                                  [swap.Types]atomic.Int64
}

// New returns a Server. It serves once Run runs and something was published.
func New(o Options) *Server {
	s := &Server{
		log: o.Log, now: o.Now, allow: o.Allow, allowStatus: o.AllowStatus, swapped: o.Swapped, observed: o.Observe,
		health:    newHealth(),
		logs:      newLogs(o),
		checked:   o.CheckInvariants,
		respare:   o.Respare,
		shared:    o.Shared,
		interner:  swap.NewInterner(),
		beginning: make(chan struct{}, runtime.GOMAXPROCS(0)),
		salt:      rand.IntN(1 << 20),
		timers:    newTimers(),
		ready:     make(chan struct{}),
		publish:   make(chan struct{}, 1),
		ending:    make(chan struct{}),
		clients:   map[*client]struct{}{},
		peers:     map[netip.Addr]*peer{},
		nodes:     map[string]*nodeStreams{},
		away:      newAway(cmp.Or(o.Own, o.State).View("nodes/")),
		left:      map[string]left{},
		moved:     moved{},
		sampled:   map[string]uint32{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.started = s.now()
	s.arrival.log, s.arrival.now, s.turned.log = s.log, s.now, s.log
	ctx := context.Background() // New does not block for long, and nothing could cancel it
	s.proved = newProved(ctx, o.State.View(provedKeys), o.Resources.Restore)
	s.sent = newSentListeners(o.State.View(listenersKeys), s.now)
	if s.keeps = o.State != nil; s.keeps {
		s.interner.Learn(s.sent.load(ctx))
		s.interner.OnSent(s.sent.sent)
		s.away.load(ctx, s.started, s.log)
	}
	return s
}

// Generation changes whenever what Nodes, Node or Summary return may have changed. Call it
// first: what they return afterwards is of this generation or newer.
func (s *Server) Generation() uint64 { return s.generation.Load() }

// Publish sets what Envoys get. It does not wait for them. An Envoy whose snapshot stays
// the same is not touched, even if its choice changes.
func (s *Server) Publish(p Publication) {
	s.mu.Lock()
	first := s.published == nil
	s.published = &p
	if s.number++; p.Again {
		s.number++ // for the one that was passed over
	}
	s.proved.published(p)
	s.mu.Unlock()
	s.generation.Add(1)
	if first {
		close(s.ready)
		s.setServing(healthpb.HealthCheckResponse_SERVING)
	}
	select {
	case s.publish <- struct{}{}:
	default: // the pending fan-out includes this publication
	}
}

// Run fans out publications and runs timers, until ctx ends. Then it ends all streams.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				s.end()
				return nil
			case <-s.publish:
				s.fanOut()
			}
		}
	})
	g.Go(func() error {
		s.timers.run(ctx, s.now, s.woken)
		return nil
	})
	g.Go(func() error {
		s.everySecond(ctx)
		return nil
	})
	if s.shared != nil {
		g.Go(func() error { s.learn(ctx, s.shared); return nil })
	}
	if s.keeps {
		g.Go(func() error {
			s.sent.run(ctx, s.interner.Held)
			return nil
		})
		defer func() { s.keepAll(s.now()) }()
	}
	return g.Wait()
}

// fanOut gives every client its snapshot.
func (s *Server) fanOut() {
	defer s.arrival.begin()()
	all := s.all() // before reading the publication: later clients have at least this one
	s.mu.Lock()
	published := s.published
	skipped := s.number > s.fanned+1
	s.fanned = s.number
	s.mu.Unlock()

	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(all)) {
					return
				}
				s.offer(all[i], published, skipped)
			}
		})
	}
	wg.Wait()
}

// offer gives c its snapshot of p, if that changes anything. skipped means that a publication
// before p was never offered. c may have had another choice in it, and whoever published that
// waits for c to have this one again.
func (s *Server) offer(c *client, p *Publication, skipped bool) {
	choice, snap, base := p.choice(c.node)
	c.mu.Lock()
	var changes []swap.Change
	same := c.wants.chosen == snap
	c.settled = c.settled && same && c.wants.choice == choice && !skipped
	c.leave(choice)
	c.wants, c.base = c.wants.published(choice, snap), base
	var next *resource.Snapshot
	before := c.refusals
	if !same {
		c.refusals = nil
		if !c.awaited && c.stream != nil {
			c.awaited = true
			s.arrival.await()
		}
		next = s.give(c)
	}
	if next != nil {
		changes = s.stepLocked(c, swap.Publish{Snapshot: next})
	} else {
		s.observeStep(c, nil)
	}
	if skipped {
		s.observeAgain(c, before)
	}
	c.mu.Unlock()
	s.tell(c, changes)
}
