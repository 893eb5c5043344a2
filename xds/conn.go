package xds

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

// Listener makes of l what a grpc.Server for a Server must serve on: it takes
// in connections at a bounded pace, and each can be ended for its streams.
func Listener(l net.Listener) net.Listener {
	return &listener{l, &door{make(chan struct{}, doorPlaces), doorTime}}
}

const (
	// doorPlaces bounds the connections between their first byte and their
	// first RPC: TLS is what costs most of a connect storm, and while it
	// lasts those that are connected need the processors as well.
	doorPlaces = 64
	// doorTime is how long one may take a place: who is slow costs little.
	doorTime = time.Second
)

// door lets few pass at once, first come first served.
type door struct {
	places chan struct{}
	limit  time.Duration
}

// listener gives connections that pass a door before they are read.
type listener struct {
	net.Listener
	door *door
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, door: l.door, closed: make(chan struct{})}, nil
}

// conn is an Envoy's connection.
type conn struct {
	net.Conn
	door   *door
	inside bool // it has passed the door; of the reader alone
	ready  ready

	mu     sync.Mutex
	leave  *time.Timer // while it has a place at the door
	ended  bool
	closed chan struct{}
}

// Read waits for a place at the door once there is something to read: who
// says nothing takes none.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	if err := c.pass(); err != nil {
		return 0, err
	}
	return n, nil
}

// pass enters by the door, the first time.
func (c *conn) pass() error {
	if c.inside {
		return nil
	}
	c.inside = true
	return c.enter()
}

func (c *conn) enter() error {
	select {
	case c.door.places <- struct{}{}:
	case <-c.closed:
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		<-c.door.places
		return net.ErrClosed
	}
	c.leave = time.AfterFunc(c.door.limit, c.passed)
	return nil
}

// passed gives the place at the door to the next.
func (c *conn) passed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave != nil {
		c.leave.Stop()
		c.leave = nil
		<-c.door.places
	}
}

func (c *conn) Close() error {
	c.mu.Lock()
	if !c.ended {
		c.ended = true
		close(c.closed)
	}
	c.mu.Unlock()
	c.passed()
	return c.Conn.Close()
}

// cut closes the connection without waiting for what was not read.
func (c *conn) cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // where it can't be set, the kernel gives up later
	}
	_ = c.Close()
}

// RemoteAddr is how an RPC finds the connection that it came by: grpc hands on
// nothing else of it.
func (c *conn) RemoteAddr() net.Addr { return remote{c.Conn.RemoteAddr(), c} }

type remote struct {
	net.Addr
	conn *conn
}

// connOf finds the connection of an RPC; nil: no Listener took it in.
func connOf(ctx context.Context) *conn {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if r, ok := p.Addr.(remote); ok {
			return r.conn
		}
	}
	return nil
}

// addrOf is the address that an RPC came from.
func addrOf(ctx context.Context) netip.AddrPort {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return netip.AddrPort{}
	}
	addr := p.Addr
	if r, ok := addr.(remote); ok {
		addr = r.Addr
	}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}

// tapped sees each RPC before it is served: its connection is through the door.
func tapped(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if c := connOf(ctx); c != nil {
		c.passed()
	}
	return ctx, nil
}
