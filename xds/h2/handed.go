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

// Handed is a connection that is handed over. Reading it begins with its first byte. The
// package has already sent the SETTINGS of an HTTP/2 server, with usual values,
// acknowledgements of the client's SETTINGS, which Handed does not send again, and answers
// to PINGs, which it does not return again. A grpc.Server accepts it with [Credentials].
type Handed struct {
	net.Conn
	AuthInfo credentials.AuthInfo // of the completed handshake; nil: plaintext
	taken    []byte
	written  ackFilter // used only by Write
}

// Write must not be called concurrently, which a grpc.Server does not do.
func (h *Handed) Write(b []byte) (int, error) {
	if !h.written.active() {
		return h.Conn.Write(b)
	}
	if _, err := h.Conn.Write(h.written.pass(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ackFilter drops a number of acknowledgements of SETTINGS from a stream of frames, which
// may come in any parts: a client treats an unexpected one as an error.
type ackFilter struct {
	drop   int
	header []byte // of an incomplete frame
	rest   int    // bytes left of a frame's payload
}

const frameHeaderLen = 9

func (a *ackFilter) active() bool { return a.drop > 0 || a.rest > 0 || len(a.header) > 0 }

// pass returns the part of b that must be written.
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

// Credentials are the credentials of a grpc.Server for connections that are [Handed].
type Credentials struct{}

// ServerHandshake returns the result of the handshake that was done before.
func (Credentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	h, ok := c.(*Handed)
	if !ok {
		return nil, nil, fmt.Errorf("a connection by %T was not handed over", c)
	}
	return h, h.AuthInfo, nil
}

// ClientHandshake returns an error: there are no clients.
func (Credentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials of connections that are handed over are a server's")
}

// Info returns the name of the protocol.
func (Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "handed"}
}

// Clone returns c.
func (c Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing: there are no clients.
func (Credentials) OverrideServerName(string) error { return nil }

// Rest is a net.Listener of connections that are handed over, for a grpc.Server.
type Rest struct {
	address net.Addr
	conns   chan *Handed
	closed  chan struct{}
	close   func()
}

// NewRest returns a Rest whose Addr is address.
func NewRest(address net.Addr) *Rest {
	r := &Rest{address: address, conns: make(chan *Handed), closed: make(chan struct{})}
	r.close = sync.OnceFunc(func() { close(r.closed) })
	return r
}

// Take can be used as [Options.Other]. It closes connections that are not accepted any
// more.
func (r *Rest) Take(h *Handed) {
	select {
	case r.conns <- h:
	case <-r.closed:
		_ = h.Close() // nobody accepts it
	}
}

// Accept returns the next connection.
func (r *Rest) Accept() (net.Conn, error) {
	select {
	case h := <-r.conns:
		return h, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener.
func (r *Rest) Close() error { r.close(); return nil }

// Addr returns the address that was passed to NewRest.
func (r *Rest) Addr() net.Addr { return r.address }
