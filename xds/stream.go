package xds

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap"
	"wasmxds/xds/transport"
)

// client is a stream.
type client struct {
	node      definition.Node
	delta     bool
	elsewhere bool // its bootstrap lists other replicas
	version   string
	started   []startedWith
	addr      netip.AddrPort
	since     time.Time
	conn      *transport.Conn
	peer      *peer

	mu       sync.Mutex
	stream   transport.Stream // nil: ended
	machine  *swap.Machine
	wants    decision
	gets     *resource.Snapshot // result of wants
	settled  bool               // and reported as settled
	awaited  bool               // by the Server's arrival
	counted  counted            // by arrival
	base     *resource.Snapshot // what it would have without changes
	leaves   *resource.Snapshot // of the choice that it had before, until it is rid of that; nil: none
	refusals []swap.Refusal     // reported since the snapshot of wants changed
	returns  bool               // the node was here recently, and had something that it was sent
	answered bool               // to any response
	flights  [swap.Types]flight
	queued   []swap.Send // until the window allows it
	nacks    []NACK
	due      time.Time // when timers wake it
	awaits   []string  // modules, as peer knows them
}

// awaitFirst waits until something was published.
func (s *Server) awaitFirst(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.ending:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.isEnding()
}

// isEnding returns the error of streams that begin too late.
func (s *Server) isEnding() error {
	select {
	case <-s.ending:
		return errEnding
	default:
		return nil
	}
}

// identify decodes and checks the node of a stream's first request. Only a few streams at a
// time are in their first exchange, first come, first served, because it is expensive.
func (s *Server) identify(ctx context.Context, req *request) error {
	select {
	case s.beginning <- struct{}{}:
		defer func() { <-s.beginning }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.isEnding(); err != nil {
		return err
	}
	if err := req.readMetadata(); err != nil {
		return undecoded(err)
	}
	if err := req.checkFirst(); err != nil {
		s.turn("refused a node", req.nodeID(), transport.AddrOf(ctx).String(), errors.New(status.Convert(err).Message()))
		return err
	}
	return nil
}

// undecoded returns the error of a stream whose first request can't be decoded.
func undecoded(err error) error {
	return status.Errorf(codes.InvalidArgument, "decode the first request: %v", err)
}

// begin creates the client of a stream and processes its first request.
func (s *Server) begin(ctx context.Context, st transport.Stream, req *request) (*client, error) {
	select {
	case s.beginning <- struct{}{}:
		defer func() { <-s.beginning }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.allow != nil {
		if err := s.allow(ctx, req.node.Node); err != nil {
			s.turn("refused a node", req.node.ID, transport.AddrOf(ctx).String(), err)
			return nil, denied(err)
		}
	}
	c, double, err := s.connect(ctx, st, *req.node, req.delta)
	if err != nil {
		if !errors.Is(err, errEnding) {
			s.turn("refused a node", req.node.ID, transport.AddrOf(ctx).String(), errors.New(status.Convert(err).Message()))
		}
		return nil, err
	}
	if double.IsValid() {
		s.log.Warn("another Envoy has the same node id: each needs a node.id of its own", "node", c.node.ID, "peer", c.addr, "other", double)
	}
	s.log.Info("Envoy connected", "node", c.node.ID, "cluster", c.node.Cluster, "peer", c.addr, "protocol", protocol(c.delta))
	if err := req.node.drainWarning; err != nil {
		s.log.Warn("node.metadata wasmxds.drainTime is not understood", "node", c.node.ID, "error", err, "instead", req.node.drainTime)
	}
	if err := s.request(c, req); err != nil {
		s.disconnect(c)
		return nil, err
	}
	return c, nil
}

// connect creates the client of a new stream. double is the address of another Envoy with
// the same ID, if there is one: two on the same machine may be a hot restart.
func (s *Server) connect(ctx context.Context, st transport.Stream, from node, delta bool) (c *client, double netip.AddrPort, err error) {
	n := from.Node
	c = &client{node: n, delta: delta, elsewhere: from.elsewhere, version: from.version, started: from.services, addr: transport.AddrOf(ctx), since: s.now(), conn: transport.ConnOf(ctx), stream: st}
	choice, chosen, base := s.chosen(n)
	c.wants, c.base, c.leaves = decision{crashes: s.left[n.ID].crashes}.published(choice, chosen), base, s.left[n.ID].leaves
	defer s.mu.Unlock()
	if s.closed {
		return nil, double, errEnding
	}
	rec := s.nodes[n.ID]
	if rec != nil && len(rec.clients) >= maxStreams {
		return nil, double, status.Errorf(codes.ResourceExhausted, "node %q has %d streams already: each Envoy needs a node.id of its own", n.ID, maxStreams)
	}
	if rec == nil {
		rec = &nodeStreams{}
		s.nodes[n.ID] = rec
	}
	for _, other := range rec.clients {
		if other.addr.Addr() != c.addr.Addr() {
			double = other.addr
		}
	}
	c.gets = c.wants.snapshot(s.proved)
	before := s.left[n.ID].Left
	if at := s.left[n.ID].alarmed; !at.IsZero() && c.since.Sub(at) >= alarmLasts {
		before = before.WithoutAlarms()
	}
	c.machine = swap.New(swap.Options{
		Interner: s.interner, Snapshot: c.gets, Delta: delta,
		Salt: s.saltAt(c.since), Rand: rand.Float64, Left: before, Broken: s.broken(n.ID),
		DrainTime: from.drainTime, Respare: s.respare, Sampling: s.sampled[n.ID],
	})
	delete(s.left, n.ID)
	c.returns = s.away.nodes[n.ID].returns(c.since)
	rec.clients = append(rec.clients, c)
	s.away.came(n, c.since)
	s.moved.came(n.ID, c.since)
	s.observe(n, Observed{What: Connected})
	s.clients[c] = struct{}{}
	c.awaited = s.arrival.joins()
	s.join(c)
	s.counters.streams.Add(1)
	s.generation.Add(1)
	return c, double, nil
}

// chosen returns what node n gets by the newest Publication, and locks s.mu. It builds the
// snapshots without that lock, so that nobody waits for those of another group, unless it
// is overtaken repeatedly.
func (s *Server) chosen(n definition.Node) (choice resource.Choice, snap, base *resource.Snapshot) {
	s.mu.Lock()
	for range 3 {
		published := s.published
		s.mu.Unlock()
		choice, snap, base = published.choice(n)
		s.mu.Lock()
		if s.published == published {
			return choice, snap, base
		}
	}
	return s.published.choice(n)
}

// broken returns a function that logs responses to a node that violate an invariant; nil:
// they are not checked.
func (s *Server) broken(node string) func(error) {
	if !s.checked {
		return nil
	}
	return func(err error) { s.log.Error("a response breaks an invariant", "node", node, "error", err) }
}

// left is what a node's last stream leaves to the next.
type left struct {
	swap.Left
	crashes []string           // versions of filters that crash
	leaves  *resource.Snapshot // see client
	at      time.Time
	alarmed time.Time // when an alarm arrived while it was away; zero: none did
}

// maxLeft is the most nodes for which this is remembered: those that disconnected within
// the milliseconds in which they had dropped a slot, or accepted a listener, and not
// answered since, or while a change was taken from them, or on which a VM has crashed.
const maxLeft = 4096

// remember stores l for a node, in place of the oldest one if there are too many. The
// caller holds s.mu.
func (s *Server) remember(node string, l left) {
	if l.Empty() && len(l.crashes) == 0 && l.leaves == nil {
		return
	}
	if _, ok := s.left[node]; !ok && len(s.left) >= maxLeft {
		oldest := node
		for id, l := range s.left {
			if oldest == node || l.at.Before(s.left[oldest].at) {
				oldest = id
			}
		}
		delete(s.left, oldest)
	}
	l.at = s.now()
	s.left[node] = l
}

// saltAt returns the number at which the attempts of a stream begin. It differs from those
// of earlier streams of the same Envoy, to this process or an earlier one, and is the same
// for all streams that begin at the same time, so that they share the bytes of responses.
// Attempts of one stream are more than 100 ms apart.
func (s *Server) saltAt(t time.Time) int {
	return (s.salt+int(t.Sub(s.started)/(100*time.Millisecond))*64)%(1<<20) + 1
}

func (s *Server) disconnect(c *client) {
	c.mu.Lock()
	c.stream = nil
	c.queued = nil
	c.await(nil)
	s.arrives(c, departed)
	left, had := left{Left: c.machine.Left(), crashes: c.wants.crashes, leaves: c.leaves}, c.returns && !c.answered || !c.machine.Empty()
	c.mu.Unlock()

	s.mu.Lock()
	s.remember(c.node.ID, left)
	delete(s.clients, c)
	rec := s.nodes[c.node.ID]
	rec.clients = slices.DeleteFunc(rec.clients, func(o *client) bool { return o == c })
	rec.had = rec.had || had
	if len(rec.clients) == 0 {
		delete(s.nodes, c.node.ID)
		s.away.went(c.node, rec.had, s.now())
		s.observe(c.node, Observed{What: Gone, Had: rec.had})
	}
	s.leave(c)
	s.mu.Unlock()
	s.generation.Add(1)
	s.counters.streams.Add(-1)
	s.log.Info("Envoy disconnected", "node", c.node.ID, "peer", c.addr)
}

func protocol(delta bool) string {
	if delta {
		return "delta"
	}
	return "sotw"
}

// String identifies the client in logs and errors.
func (c *client) String() string { return fmt.Sprintf("%s (%s)", c.node.ID, c.addr) }
