package h2

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/peer"
)

// conn is a connection.
type conn struct {
	server  *Server
	socket  *socket
	nc      net.Conn        // the socket, or TLS on it
	raw     syscall.RawConn // nil: read through nc
	peer    peer.Peer
	started time.Time
	read    atomic.Int64 // when the peer last sent something, in nanoseconds since started

	// Used only by the reader.
	headers  *hpack.Decoder // nil: the peer has agreed to a table of size 0
	awaiting awaiting
	settled  bool // the peer's first SETTINGS have arrived
	used     int  // bytes of the window used since its last renewal
	budget   budget
	paid     atomic.Int32 // messages sent, which refill the budget

	mu       sync.Mutex
	streams  []*Stream // open
	lastID   uint32
	idle     time.Time // since when there are no streams; zero: there are some
	opened   bool      // the first request has arrived
	pinged   time.Time // zero: no PING is in flight
	window   int64     // bytes that may be sent
	initial  int64     // window of a new stream
	maxFrame int       // limit for frames that are sent
	control  []byte    // frames to send before all others
	going    goingAway
	closed   bool
}

// goingAway is the progress of a shutdown by GOAWAY: first one that excludes no stream, so
// that none in flight is lost, then a PING, and then one with the last stream.
type goingAway uint8

const (
	staying goingAway = iota
	leaving
	left
)

const firstWindow = 65535 // of each stream and connection, in both directions

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, socket: newSocket(nc, &s.running), started: s.Now(), window: firstWindow, initial: firstWindow, maxFrame: maxFrameSize}
	c.nc, c.socket.drained = c.socket, c.push
	c.peer = peer.Peer{Addr: nc.RemoteAddr(), LocalAddr: nc.LocalAddr()}
	c.budget.fill(c.started)
	return c
}

// open processes a connection up to its first request, and then serves it or hands it over.
// The stack that this needs is not kept for the rest of the connection's life.
func (c *conn) open() {
	o, err := c.opening()
	if err != nil {
		c.server.Log.Debug("connection did not begin", "peer", c.peer.Addr, "error", err)
		c.close()
		c.server.remove(c)
		return
	}
	if _, ours := c.server.Methods[o.path]; !ours && o.path != "" && c.server.Other != nil {
		c.socket.block()
		c.server.remove(c)
		c.server.Other(&Handed{Conn: c.nc, AuthInfo: c.peer.AuthInfo, taken: o.taken, written: ackFilter{drop: o.acks}})
		return
	}
	go c.serve(o.taken[o.rest:], o.wrong)
}

// opening is what arrived up to and including the first request.
type opening struct {
	taken []byte // all of it, except for PINGs, which were answered
	rest  int    // index in taken of the first request, or of what can't be decoded
	acks  int    // acknowledgements of SETTINGS that were sent
	path  string // path of the request; "": none, or it can't be decoded
	wrong error  // error of the client before the request, which ends the connection
}

// opening reads up to the first request, and answers frames before it.
func (c *conn) opening() (o opening, err error) {
	if creds := c.server.Credentials; creds != nil {
		if c.nc, c.peer.AuthInfo, err = creds.ServerHandshake(c.socket); err != nil {
			return o, fmt.Errorf("handshake: %w", err)
		}
	} else {
		c.raw = c.socket.raw
	}
	if _, err := c.nc.Write(settings()); err != nil {
		return o, err
	}
	tape := &tape{from: c.nc}
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(tape, preface); err != nil {
		return o, fmt.Errorf("read the preface: %w", err)
	}
	if string(preface) != http2.ClientPreface {
		return o, errors.New("the client does not speak HTTP/2")
	}
	c.headers = hpack.NewDecoder(4096, nil)
	r := c.server.borrow(tape, hpack.NewDecoder(4096, nil))
	for {
		o.rest = len(tape.taken) - len(r.in)
		f, err := r.ReadFrame()
		o.taken = tape.taken
		if headers, ok := f.(*http2.MetaHeadersFrame); ok && err == nil {
			o.path = headers.PseudoValue("path")
			c.server.giveBack(r)
			return o, nil
		}
		if r.err != nil {
			return o, fmt.Errorf("read the first request: %w", r.err)
		}
		if err != nil {
			return o, nil // serve reports the error
		}
		if err := c.early(f, &o); err != nil {
			return o, err
		}
		if o.wrong != nil {
			return o, nil
		}
		if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() {
			tape.taken = slices.Delete(tape.taken, o.rest, len(tape.taken)-len(r.in))
		}
	}
}

// early processes a frame before the first request, and writes the answer at once, because
// nothing else writes yet.
func (c *conn) early(f http2.Frame, o *opening) error {
	if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
		o.acks++
	}
	o.wrong = c.frame(f)
	c.mu.Lock()
	answer := c.control
	c.control = nil
	c.mu.Unlock()
	_, err := c.nc.Write(answer)
	return err
}

// tape records what is read.
type tape struct {
	from  io.Reader
	taken []byte
}

func (t *tape) Read(b []byte) (int, error) {
	if len(t.taken) >= maxOpening {
		return 0, fmt.Errorf("no request in %d bytes", maxOpening)
	}
	n, err := t.from.Read(b)
	t.taken = append(t.taken, b[:n]...)
	return n, err
}

// serve reads until the connection ends, or ends it at once if err is not nil. It begins
// with the bytes that opening has read and not used.
func (c *conn) serve(taken []byte, err error) {
	defer c.server.remove(c)
	c.mu.Lock()
	c.opened, c.idle = true, c.server.Now()
	c.mu.Unlock()
	c.read.Store(int64(c.server.Now().Sub(c.started)))
	r := c.server.borrow(c.nc, c.headers)
	r.in = taken
	for err == nil {
		if err = c.frames(r); err == nil {
			c.push()
			r, err = c.await()
			c.read.Store(int64(c.server.Now().Sub(c.started)))
		}
	}
	c.fail(r, err)
	c.end()
}

// frames processes the frames in r, and then returns r to the pool.
func (c *conn) frames(r *reader) error {
	for len(r.in) > 0 {
		r.decodeBy(c.headers)
		f, err := r.ReadFrame()
		if se := (http2.StreamError{}); errors.As(err, &se) {
			if r.kind != http2.FrameHeaders && c.neverWas(se.StreamID) {
				err = http2.ConnectionError(se.Code)
			} else {
				err = c.malformed(se)
			}
		} else if err == nil {
			err = c.frame(f)
		}
		if err != nil {
			return err
		}
	}
	c.server.giveBack(r)
	return nil
}

// fail reports to the peer which error of its own ends the connection, if one does.
func (c *conn) fail(r *reader, err error) {
	code := http2.ErrCodeProtocol
	if ce := http2.ConnectionError(0); errors.As(err, &ce) {
		code = http2.ErrCode(ce)
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		code = http2.ErrCodeFrameSize
	} else if r == nil || r.err != nil {
		return // an error of the connection itself
	}
	c.server.Log.Debug("connection is in error", "peer", c.peer.Addr, "error", err)
	c.mu.Lock()
	c.control = appendGoAway(c.control, c.lastID, code)
	c.pushLocked()
	c.mu.Unlock()
	// Wait until the peer has read the GOAWAY: closing with unread input would discard it.
	if c.nc.SetReadDeadline(time.Now().Add(time.Second)) == nil {
		_, _ = io.CopyN(io.Discard, c.nc, maxRest)
	}
}

// close makes the reader end the connection.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.opened {
		_ = c.nc.Close() // the connection is closed in any case
	} else {
		_ = c.socket.Close()
	}
}

// end ends all streams because the connection has ended.
func (c *conn) end() {
	c.close()
	c.mu.Lock()
	streams := c.streams
	c.streams, c.control = nil, nil
	for _, s := range streams {
		s.closeLocked()
	}
	c.mu.Unlock()
	for _, s := range streams {
		s.over()
	}
}

// drain begins to close the connection with GOAWAY.
func (c *conn) drain() {
	c.mu.Lock()
	if !c.opened {
		c.mu.Unlock()
		c.close()
		return
	}
	if c.going == staying {
		c.going = leaving
		c.control = appendGoAway(c.control, 1<<31-1, http2.ErrCodeNo)
		c.control = appendPing(c.control, false, leavingPing)
	}
	c.mu.Unlock()
	c.push()
}

// leavingPing is answered once the peer has read the first GOAWAY.
var leavingPing = [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g'}

// heard returns when the peer last sent something.
func (c *conn) heard() time.Time { return c.started.Add(time.Duration(c.read.Load())) }

// overdue returns why a connection must be closed; "": it need not be. It sends a PING to a
// silent peer.
func (c *conn) overdue(now time.Time) string {
	read := c.heard()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
	case !c.opened:
		if now.Sub(c.started) >= openingTime {
			return "no request"
		}
	case !c.idle.IsZero() && now.Sub(c.idle) >= idleTime:
		if c.going == left {
			return "no streams"
		}
		c.going = left
		c.control = appendGoAway(c.control, c.lastID, http2.ErrCodeNo)
		c.pushLocked()
	case !c.pinged.IsZero() && read.After(c.pinged):
		c.pinged = time.Time{}
	case !c.pinged.IsZero() && now.Sub(c.pinged) >= pingTime:
		return "no answer to a PING"
	case c.pinged.IsZero() && now.Sub(read) >= pingAfter:
		c.pinged = now
		c.control = appendPing(c.control, false, [8]byte{})
		c.pushLocked()
	}
	return ""
}
