package transport

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"wasmxds/xds/patience"
)

// Limits of what is held for clients that keep the server waiting.
const (
	maxUnfinished  = 8 << 20  // bytes for connections without a first message
	maxMessages    = 8 << 20  // bytes of incomplete messages, and for streams without a first one
	connectionCost = 16 << 10 // of such a connection: buffers, and stacks of goroutines
	streamCost     = 16 << 10 // of such a stream
	messageCost    = 1 << 10  // of an incomplete message, besides its bytes
	frameCost      = 128      // of each of its frames
	grace          = 200 * time.Millisecond

	firstMessage = 20 * time.Second // from the beginning of a connection
	wholeMessage = 10 * time.Second // from the beginning of a message or stream
)

func newMessages() *patience.Room { return patience.New(maxMessages, grace) }

// acceptLimiter limits concurrent work for incoming connections. A connection has a turn
// while the server works for it, as in a TLS handshake, which is the largest part of the
// cost of a connect storm: connected clients need the processors during that time as well.
// A connection has no turn while the server waits for its client, so that nobody can keep
// others out by silence.
type acceptLimiter struct {
	turns   *turns
	waiting *patience.Room
}

func newAcceptLimiter() *acceptLimiter {
	return &acceptLimiter{newTurns(4 * runtime.GOMAXPROCS(0)), patience.New(maxUnfinished, grace)}
}

// Listener is a net.Listener for the transports. It limits the number of connections, and
// how many are set up at a time, and allows streams to end their connection.
type Listener struct {
	net.Listener
	limit     int64
	log       *slog.Logger
	accepting *acceptLimiter
	messages  *patience.Room
	open      atomic.Int64
}

// NewListener returns a Listener on l, for that many connections (0: no limit).
func NewListener(l net.Listener, connections int, log *slog.Logger) *Listener {
	if connections <= 0 {
		connections = 1 << 30
	}
	return &Listener{Listener: l, limit: int64(connections), log: log, accepting: newAcceptLimiter(), messages: newMessages()}
}

// Accept returns the next connection. Beyond the limit it closes the connection that has
// kept the server waiting longest, or else the new one.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.accepting.waiting.Await()
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > l.limit && !l.accepting.waiting.Shed() {
			l.open.Add(-1)
			l.log.Warn("closed a new connection: there are too many (--max-connections)", "peer", nc.RemoteAddr(), "connections", l.limit)
			nc.Close()
			continue
		}
		c := &Conn{Conn: nc, listener: l, closed: make(chan struct{})}
		c.addr = addrPort(nc.RemoteAddr()).Addr()
		w := l.accepting.waiting.Begin(c.addr, connectionCost, firstMessage, func(error) { c.Cut() })
		w.Unless(c.unread)
		c.wait.Store(w)
		return c, nil
	}
}

// Conn is a connection of an Envoy.
type Conn struct {
	net.Conn
	meter  *meter                        // of a plaintext connection of grpc; nil: none
	wait   atomic.Pointer[patience.Wait] // until its first message has arrived
	inside atomic.Bool                   // its first request has arrived
	turn   atomic.Bool                   // it has a turn
	ready  ready

	listener *Listener
	addr     netip.Addr
	closed   chan struct{}
	close    sync.Once
}

func (c *Conn) Read(b []byte) (int, error) {
	c.yield()
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	if err := c.took(b[:n]); err != nil {
		return 0, err
	}
	return n, nil
}

// yield releases the turn, if there is one, before waiting for the client.
func (c *Conn) yield() {
	c.giveTurn()
	if w := c.wait.Load(); w != nil {
		w.Theirs()
	}
}

func (c *Conn) giveTurn() {
	if c.turn.CompareAndSwap(true, false) {
		c.listener.accepting.turns.give()
	}
}

// took processes what was read: before it is used, the connection waits for its turn.
func (c *Conn) took(b []byte) error {
	if !c.inside.Load() {
		if w := c.wait.Load(); w != nil {
			w.Ours()
		}
		if !c.listener.accepting.turns.take(c.addr, c.closed) {
			return net.ErrClosed
		}
		c.turn.Store(true)
		select {
		case <-c.closed: // Close has found no turn to release
			c.giveTurn()
			return net.ErrClosed
		default:
		}
	}
	if c.meter != nil {
		c.meter.read(b)
	}
	return nil
}

func (c *Conn) Write(b []byte) (int, error) {
	if c.meter != nil && c.meter.wrote(b) {
		return c.writeMore(b)
	}
	return c.Conn.Write(b)
}

// passed records that the first request has arrived. The reader calls it.
func (c *Conn) passed() {
	c.inside.Store(true)
	c.yield()
}

// proven records that the first message has arrived.
func (c *Conn) proven() {
	if w := c.wait.Swap(nil); w != nil {
		w.Done()
	}
}

func (c *Conn) Close() error {
	err := c.end()
	if c.meter != nil {
		c.meter.close()
	}
	return err
}

func (c *Conn) end() error {
	c.close.Do(func() {
		close(c.closed)
		c.listener.open.Add(-1)
		c.giveTurn()
		c.proven()
	})
	return c.Conn.Close()
}

// Cut closes the connection without waiting for unread data.
func (c *Conn) Cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // otherwise the kernel gives up later
	}
	_ = c.end() // not Close, which waits for the meter, which may be the caller
}

// RemoteAddr lets an RPC find its connection: grpc passes nothing else of it.
func (c *Conn) RemoteAddr() net.Addr { return remote{c.Conn.RemoteAddr(), c} }

type remote struct {
	net.Addr
	conn *Conn
}

// ConnOf returns the connection of an RPC; nil: it is not from a Listener.
func ConnOf(ctx context.Context) *Conn {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		return connAt(p.Addr)
	}
	return nil
}

func connAt(a net.Addr) *Conn {
	if r, ok := a.(remote); ok {
		return r.conn
	}
	return nil
}

// AddrOf returns the address that an RPC came from.
func AddrOf(ctx context.Context) netip.AddrPort {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return netip.AddrPort{}
	}
	return addrPort(p.Addr)
}

func addrPort(addr net.Addr) netip.AddrPort {
	if r, ok := addr.(remote); ok {
		addr = r.Addr
	}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}

// tapped is called by the connection's reader for each RPC before it is served, which shows
// that the request has arrived.
func tapped(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if c := ConnOf(ctx); c != nil {
		c.passed()
	}
	return ctx, nil
}
