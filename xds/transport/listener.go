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

// What is held for clients that keep the server waiting.
const (
	maxUnfinished  = 8 << 20  // bytes for connections without a first message
	maxMessages    = 8 << 20  // bytes of messages that are not there yet, and for streams without a first one
	connectionCost = 16 << 10 // of such a connection: buffers, and stacks of goroutines
	streamCost     = 16 << 10 // of such a stream
	messageCost    = 1 << 10  // of an unfinished message, beside its bytes
	frameCost      = 128      // of each of its frames
	grace          = 200 * time.Millisecond

	firstMessage = 20 * time.Second // from a connection's beginning on
	wholeMessage = 10 * time.Second // from a message's, or a stream's
)

func newMessages() *patience.Room { return patience.New(maxMessages, grace) }

// acceptLimiter limits what is done at once for connections that come in. One
// has a turn while the server works for it, as in a TLS handshake, which is what
// costs most of a connect storm: while that lasts those that are connected need
// the processors as well. It has none while its client is to speak, so that
// nobody keeps others out by silence.
type acceptLimiter struct {
	turns   *turns
	waiting *patience.Room
}

func newAcceptLimiter() *acceptLimiter {
	return &acceptLimiter{newTurns(4 * runtime.GOMAXPROCS(0)), patience.New(maxUnfinished, grace)}
}

// Listener is what transports serve on: it takes in connections at a bounded
// pace, no more than so many at once, and each can be ended for its streams.
type Listener struct {
	net.Listener
	limit     int64
	log       *slog.Logger
	accepting *acceptLimiter
	messages  *patience.Room
	open      atomic.Int64
}

// NewListener makes one of l, for so many connections (0: any number).
func NewListener(l net.Listener, connections int, log *slog.Logger) *Listener {
	if connections <= 0 {
		connections = 1 << 30
	}
	return &Listener{Listener: l, limit: int64(connections), log: log, accepting: newAcceptLimiter(), messages: newMessages()}
}

// Accept closes connections beyond the limit: the one that has kept the server
// waiting longest, or the newest.
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

// Conn is an Envoy's connection.
type Conn struct {
	net.Conn
	listener *Listener
	addr     netip.Addr
	inside   atomic.Bool // its first request is there
	turn     atomic.Bool // it has one
	ready    ready
	meter    *meter // of a plaintext connection of grpc; nil: none

	wait   atomic.Pointer[patience.Wait] // until its first message is there
	closed chan struct{}
	close  sync.Once
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

// yield gives the turn back, if there is one, before the client is waited for.
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

// took is for what was read: before it is used, the connection waits for its
// turn.
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
		case <-c.closed: // Close has found none to give back
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

// passed tells that the first request is there: the reader calls it.
func (c *Conn) passed() {
	c.inside.Store(true)
	c.yield()
}

// proven tells that the first message is there.
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

// Cut closes the connection without waiting for what was not read.
func (c *Conn) Cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // where it can't be set, the kernel gives up later
	}
	_ = c.end() // not Close, which waits for the meter that this may be called by
}

// RemoteAddr is how an RPC finds the connection that it came by: grpc hands on
// nothing else of it.
func (c *Conn) RemoteAddr() net.Addr { return remote{c.Conn.RemoteAddr(), c} }

type remote struct {
	net.Addr
	conn *Conn
}

// ConnOf finds the connection of an RPC; nil: no Listener took it in.
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

// AddrOf is the address that an RPC came from.
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

// tapped sees each RPC before it is served, and is called by the connection's
// reader: it has come in.
func tapped(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if c := ConnOf(ctx); c != nil {
		c.passed()
	}
	return ctx, nil
}
