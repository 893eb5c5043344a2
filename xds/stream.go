package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// client is a stream.
type client struct {
	node  definition.Node
	delta bool
	addr  netip.AddrPort
	since time.Time

	mu      sync.Mutex
	stream  grpc.ServerStream // nil: ended
	machine *swap.Machine
	snap    *resource.Snapshot
	unacked [swap.Types]int // bytes that the client may not have read yet
	queued  []swap.Send     // held back until it has
	nacks   []NACK
	due     time.Time // when the wheel wakes it
}

// window bounds the bytes sent to a client and not ACKed, but for a single
// response that is larger. It is less than what grpc takes without blocking
// (64 KiB a stream), so that no send waits for a client that doesn't read.
const window = 48 << 10

// maxNACKs is how many NACKs are kept for the status, newest last.
const maxNACKs = 8

// NACK is a response that an Envoy refused.
type NACK struct {
	Type    string // type URL
	Message string
	At      time.Time
}

// stream serves one stream until it ends.
func (s *Server) stream(st grpc.ServerStream, delta bool) error {
	ctx := st.Context()
	select {
	case <-s.ready:
	case <-s.ending:
		return status.Error(codes.Unavailable, "xds-server is ending")
	case <-ctx.Done():
		return nil
	}
	req := &request{delta: delta}
	if err := st.RecvMsg(req); err != nil {
		return ended(err)
	}
	if req.node == nil || req.node.ID == "" {
		return status.Error(codes.InvalidArgument, "the first request of a stream names no node: set node.id in the bootstrap, or --service-node")
	}
	if s.allow != nil {
		if err := s.allow(ctx, req.node.Node); err != nil {
			s.refusals.log(s.log, s.now(), req.node.ID, addrOf(ctx), err)
			return denied(err)
		}
	}
	c, err := s.connect(st, req.node.Node, delta)
	if err != nil {
		return err
	}
	defer s.disconnect(c)
	for {
		s.request(c, req)
		if err := c.overSubscribed(req.Type); err != nil {
			return err
		}
		if err := st.RecvMsg(req); err != nil {
			return ended(err)
		}
		if req.node != nil && req.node.ID != "" && req.node.ID != c.node.ID {
			return status.Errorf(codes.InvalidArgument, "this stream is node %q, a request of it names %q", c.node.ID, req.node.ID)
		}
	}
}

// ended turns a client's going away into the end of its stream.
func ended(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}

func addrOf(ctx context.Context) netip.AddrPort {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return netip.AddrPort{}
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}

// connect makes the client of a new stream.
func (s *Server) connect(st grpc.ServerStream, n definition.Node, delta bool) (*client, error) {
	c := &client{node: n, delta: delta, addr: addrOf(st.Context()), since: s.now(), stream: st}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, status.Error(codes.Unavailable, "xds-server is ending")
	}
	rec := s.nodes[n.ID]
	if rec == nil {
		rec = &record{}
		s.nodes[n.ID] = rec
	}
	c.snap = s.catalog.Snapshot(n)
	c.machine = swap.New(swap.Options{
		Space: s.space, Snapshot: c.snap, Delta: delta,
		Salt: s.saltAt(c.since), Rand: rand.Float64,
	})
	rec.clients = append(rec.clients, c)
	s.clients[c] = struct{}{}
	s.join(c)
	s.counters.streams.Add(1)
	s.log.Info("Envoy connected", "node", n.ID, "cluster", n.Cluster, "peer", c.addr, "protocol", protocol(delta))
	return c, nil
}

// saltAt is where the attempts of a stream begin: apart from those of earlier
// streams of the same Envoy, to this server or to one before it, and the same
// for all that come at the same time, so that they share the bytes. Attempts of
// one stream are more than 100 ms apart.
func (s *Server) saltAt(t time.Time) int {
	return (s.salt+int(t.Sub(s.started)/(100*time.Millisecond))*64)%(1<<20) + 1
}

func (s *Server) disconnect(c *client) {
	c.mu.Lock()
	c.stream = nil
	c.queued = nil
	c.mu.Unlock()

	s.mu.Lock()
	delete(s.clients, c)
	rec := s.nodes[c.node.ID]
	rec.clients = slices.DeleteFunc(rec.clients, func(o *client) bool { return o == c })
	if len(rec.clients) == 0 {
		delete(s.nodes, c.node.ID)
	}
	s.leave(c)
	s.mu.Unlock()
	s.counters.streams.Add(-1)
	s.log.Info("Envoy disconnected", "node", c.node.ID, "peer", c.addr)
}

// request hands a request to the machine.
func (s *Server) request(c *client, r *request) {
	s.counters.requests.Add(1)
	if r.Type == swap.Types {
		s.log.Debug("asked for a type that is not served", "node", c.node.ID, "type", r.typeURL)
		return
	}
	if r.Failed {
		s.nacked(c, r)
	}
	s.observed(c, r)
}

func (s *Server) nacked(c *client, r *request) {
	s.counters.nacks.Add(1)
	s.counters.refused[r.Type].Add(1)
	s.log.Debug("NACK", "node", c.node.ID, "type", r.Type, "nonce", r.Nonce, "message", r.Error)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.nacks) == maxNACKs {
		c.nacks = slices.Delete(c.nacks, 0, 1)
	}
	c.nacks = append(c.nacks, NACK{Type: r.typeURL, Message: r.Error, At: s.now()})
}

// step lets the machine of c take an event, and sends what it says.
func (s *Server) step(c *client, e swap.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.stepLocked(c, e)
}

// stepLocked is step for a caller that holds c.mu.
func (s *Server) stepLocked(c *client, e swap.Event) {
	if c.stream == nil {
		return
	}
	if r, ok := e.(swap.Request); ok && r.Nonce != "" {
		c.unacked[r.Type] = 0
	}
	now := s.now()
	c.queued = append(c.queued, c.machine.Step(now, e)...)
	s.flush(c)
	if due := c.machine.Due(now); !due.IsZero() && (c.due.IsZero() || due.Before(c.due) || !c.due.After(now)) {
		c.due = due
		s.wheel.add(c, due)
	}
}

// flush sends what the client's window allows. The caller holds c.mu.
func (s *Server) flush(c *client) {
	for len(c.queued) > 0 {
		out := 0
		for _, n := range c.unacked {
			out += n
		}
		send := c.queued[0]
		size := len(send.Body())
		if out > 0 && out+size > window {
			return
		}
		c.queued = c.queued[1:]
		c.unacked[send.Type] = size
		if err := c.stream.SendMsg(&send); err != nil {
			// The stream has ended; its handler sees it as well.
			c.queued = nil
			return
		}
		s.counters.pushes.Add(1)
		s.counters.bytes.Add(int64(size))
		s.counters.sent[send.Type].Add(1)
	}
	c.queued = nil
}

func protocol(delta bool) string {
	if delta {
		return "delta"
	}
	return "sotw"
}

// String names the client in logs and errors.
func (c *client) String() string { return fmt.Sprintf("%s (%s)", c.node.ID, c.addr) }
