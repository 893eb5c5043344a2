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

// Options are a Server's givens. The zero value is usable.
type Options struct {
	Log *slog.Logger     // nil: none
	Now func() time.Time // nil: time.Now
	// Allow decides whether a stream may be this node; nil: any may. Its
	// error is what the Envoy is told: PermissionDenied, unless it is a gRPC
	// status itself.
	Allow func(ctx context.Context, n definition.Node) error
	// AllowStatus decides whether a client is told the status of a node
	// (CSDS); nil: any client, of any.
	AllowStatus func(ctx context.Context, n definition.Node) error
	// Logs begins a stream of access logs of an Envoy, with its first message, and
	// decides by ctx whether it may be that Envoy's; nil: they are not served.
	Logs func(ctx context.Context, first []byte) (LogStream, error)
	// MaxLogs bounds the streams of access logs at once; 0: nothing does.
	MaxLogs int
	// Swapped is told how filters that run on an Envoy come to another
	// version; nil: nobody is. It must be quick.
	Swapped func(Swaps)
	// Observe is told what Envoys' streams tell of them, of each in order; nil:
	// nobody is. It must be quick, and must not call back.
	Observe func(Observed)
	// State keeps the listeners that Envoys were sent, and the versions of filters
	// that have run, for any server after this one; nil: they are not kept.
	State *state.Writer
	// Shared is what State writes to, where other servers do as well; nil: none do.
	Shared state.Store
	// Own keeps the nodes that were served, for the server that takes this one's
	// place: there may be others beside it. nil: State does.
	Own *state.Writer
	// Resources are how the Catalogs that are published were compiled.
	Resources resource.Options
	// Respare is for how long nothing must have changed on an Envoy until its
	// listeners get back the spare slots that were used up, see
	// [resource.Spares]; 0: they get them when they are replaced anyway.
	Respare time.Duration
	// CheckInvariants has each response checked against the invariants of the
	// swap before it is sent; one that breaks some is logged, and sent.
	CheckInvariants bool
}

// Server holds the streams of all Envoys.
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
	keeps       bool // whether there is a State
	shared      state.Store
	respare     time.Duration
	sent        *sentListeners

	started time.Time

	ready   chan struct{} // closed by the first Publish
	publish chan struct{} // holds a token while there is something to fan out
	ending  chan struct{} // closed when streams are to end

	beginning chan struct{} // holds a token for each stream in its first exchange

	mu        sync.Mutex
	published *Publication // nil: nothing was
	clients   map[*client]struct{}
	peers     map[netip.Addr]*peer
	nodes     map[string]*nodeStreams // by node id
	away      *away
	moved     moved
	left      map[string]left   // by node id
	sampled   map[string]uint32 // by node id; see Sample
	closed    bool

	generation atomic.Uint64 // see Generation
	drained    drained
	counters   counters
	turned     turnedAway
	arrival    arrival
	health     *health.Server
}

// counters are the figures behind the metrics.
type counters struct {
	streams, pushes, bytes, nacks, requests, moved atomic.Int64
	sent, refused                                  [swap.Types]atomic.Int64
}

// New makes a Server. It serves once Run runs and something was published.
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
	ctx := context.Background() // it starts: there is nothing that could end it
	s.proved = newProved(ctx, o.State.View(provedKeys), o.Resources.Restore)
	s.sent = newSentListeners(o.State.View(listenersKeys), s.now)
	if s.keeps = o.State != nil; s.keeps {
		s.interner.Learn(s.sent.load(ctx))
		s.interner.OnSent(s.sent.sent)
		s.away.load(ctx, s.started, s.log)
	}
	return s
}

// Generation is another whenever anything may have changed that Nodes, Summary
// or a node tell. Ask for it first: what is told then is of this generation, or
// newer.
func (s *Server) Generation() uint64 { return s.generation.Load() }

// Publish makes p what Envoys are to have. It does not wait for them. One that is
// to have the same as before is not touched, whatever its choice was and is.
func (s *Server) Publish(p Publication) {
	s.mu.Lock()
	first := s.published == nil
	s.published = &p
	s.proved.published(p)
	s.mu.Unlock()
	s.generation.Add(1)
	if first {
		close(s.ready)
		s.setServing(healthpb.HealthCheckResponse_SERVING)
	}
	select {
	case s.publish <- struct{}{}:
	default: // the one that is waiting takes this one along
	}
}

// Run fans out what is published and wakes who waits for a time, until ctx
// ends. Then it ends all streams.
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
		s.timers.run(ctx, s.now, func(c *client) { s.step(c, swap.Tick{}) })
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
	all := s.all() // before the publication: who comes after has this one at least
	s.mu.Lock()
	published := s.published
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
				s.offer(all[i], published)
			}
		})
	}
	wg.Wait()
}

// offer publishes p to c where it changes anything for it.
func (s *Server) offer(c *client, p *Publication) {
	choice, snap := p.choice(c.node)
	c.mu.Lock()
	var changes []swap.Change
	same := c.wants.chosen == snap
	c.settled = c.settled && same && c.wants.choice == choice
	c.wants = c.wants.published(choice, snap)
	var next *resource.Snapshot
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
	c.mu.Unlock()
	s.tell(c, changes)
}
