package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
)

// Handed is a connection that is handed over: reading it begins at its first
// byte. It was sent an HTTP/2 server's SETTINGS, which are usual ones, and what
// answers the client's: acknowledgements, which are not sent again, and PINGs,
// which are not read again. A grpc.Server takes it with [Credentials].
type Handed struct {
	net.Conn
	AuthInfo credentials.AuthInfo // of the handshake, which is done; nil: plaintext
	taken    []byte
	written  ackFilter // of who writes
}

// Write is for one caller at a time, as a grpc.Server's is.
func (h *Handed) Write(b []byte) (int, error) {
	if !h.written.active() {
		return h.Conn.Write(b)
	}
	if _, err := h.Conn.Write(h.written.pass(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ackFilter drops acknowledgements of SETTINGS, so many, from a stream of frames
// that comes in any parts: a client takes one that it does not expect for an
// error.
type ackFilter struct {
	drop   int
	header []byte // of a frame, not whole
	rest   int    // of a frame's payload
}

const frameHeaderLen = 9

func (a *ackFilter) active() bool { return a.drop > 0 || a.rest > 0 || len(a.header) > 0 }

// pass gives what of b is to be written.
func (a *ackFilter) pass(b []byte) (out []byte) {
	for len(b) > 0 && a.active() {
		if a.rest > 0 {
			n := min(a.rest, len(b))
			out, b, a.rest = append(out, b[:n]...), b[n:], a.rest-n
			continue
		}
		n := min(frameHeaderLen-len(a.header), len(b))
		a.header, b = append(a.header, b[:n]...), b[n:]
		if len(a.header) < frameHeaderLen {
			break
		}
		h := a.header
		a.header = nil
		if a.drop > 0 && http2.FrameType(h[3]) == http2.FrameSettings && http2.Flags(h[4]).Has(http2.FlagSettingsAck) {
			a.drop--
			continue
		}
		a.rest = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
		out = append(out, h...)
	}
	return append(out, b...)
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
