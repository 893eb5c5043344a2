package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Handed is a connection that is handed over: reading it begins at its first
// byte. It was sent an HTTP/2 server's SETTINGS, which are usual ones, and
// nothing else. A grpc.Server takes it with [Credentials].
type Handed struct {
	net.Conn
	AuthInfo credentials.AuthInfo // of the handshake, which is done; nil: plaintext
	taken    []byte
}

func (h *Handed) Read(b []byte) (int, error) {
	if len(h.taken) == 0 {
		return h.Conn.Read(b)
	}
	n := copy(b, h.taken)
	if h.taken = h.taken[n:]; len(h.taken) == 0 {
		h.taken = nil
	}
	return n, nil
}

// Credentials are those of a grpc.Server for connections that are [Handed].
type Credentials struct{}

// ServerHandshake gives what is known from the handshake that was.
func (Credentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	h, ok := c.(*Handed)
	if !ok {
		return nil, nil, fmt.Errorf("a connection by %T was not handed over", c)
	}
	return h, h.AuthInfo, nil
}

// ClientHandshake is for clients, of which there are none.
func (Credentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials of connections that are handed over are a server's")
}

// Info names the protocol.
func (Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "handed"}
}

// Clone gives the same.
func (c Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is for clients.
func (Credentials) OverrideServerName(string) error { return nil }

// Rest is a net.Listener of connections that are handed over, for a grpc.Server.
type Rest struct {
	address net.Addr
	conns   chan *Handed
	closed  chan struct{}
	close   func()
}

// NewRest makes a Rest that is said to listen at an address.
func NewRest(address net.Addr) *Rest {
	r := &Rest{address: address, conns: make(chan *Handed), closed: make(chan struct{})}
	r.close = sync.OnceFunc(func() { close(r.closed) })
	return r
}

// Take is for [Options.Other]. It closes connections that nobody accepts any
// more.
func (r *Rest) Take(h *Handed) {
	select {
	case r.conns <- h:
	case <-r.closed:
		_ = h.Close() // nobody wants it
	}
}

// Accept gives the next connection.
func (r *Rest) Accept() (net.Conn, error) {
	select {
	case h := <-r.conns:
		return h, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (r *Rest) Close() error { r.close(); return nil }

// Addr is the address it was made with.
func (r *Rest) Addr() net.Addr { return r.address }
