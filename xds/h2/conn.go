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
	raw     syscall.RawConn // nil: nc is to be read as it is
	peer    peer.Peer
	started time.Time
	read    atomic.Int64 // when the peer last said something, nanoseconds from started on

	// Of the reader alone.
	headers  *hpack.Decoder // nil: the peer has agreed to a table of size 0
	awaiting awaiting
	settled  bool // the peer's first SETTINGS are there
	used     int  // bytes of the window since it was last renewed
	budget   budget
	paid     atomic.Int32 // messages sent, for the budget

	mu       sync.Mutex
	streams  []*Stream // open
	lastID   uint32
	idle     time.Time // since when there is none; zero: there are some
	opened   bool      // the first request is there
	pinged   time.Time // zero: no PING is under way
	window   int64     // what may be sent
	initial  int64     // window of a new stream
	maxFrame int       // that may be sent
	control  []byte    // frames that go before all else
	going    goingAway
	closed   bool
}

// goingAway is how far a GOAWAY has come: one that excludes no stream, so that
// none which is on its way is lost, a PING, and one that tells the last stream.
type goingAway uint8

const (
	staying goingAway = iota
	leaving
	left
)

const firstWindow = 65535 // of all streams and connections, both ways

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, socket: newSocket(nc, &s.running), started: s.Now(), window: firstWindow, initial: firstWindow, maxFrame: maxFrameSize}
	c.nc, c.socket.drained = c.socket, c.push
	c.peer = peer.Peer{Addr: nc.RemoteAddr(), LocalAddr: nc.LocalAddr()}
	c.budget.fill(c.started)
	return c
}

// open brings a connection to its first request, and then serves it or hands it
// over. What that takes of stack is not kept for the connection's life.
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

// opening is what came up to and with the first request.
type opening struct {
	taken []byte // all of it, but for PINGs, which were answered
	rest  int    // of taken: from the first request, or what can't be read, on
	acks  int    // of SETTINGS, sent
	path  string // of the request; "": it can't be read, or there is none
	wrong error  // that the client did before it, which ends the connection
}

// opening reads to the first request, and answers what comes before that.
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
			return o, nil // serve says what is wrong
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

// early takes a frame that comes before the first request, and writes the answer
// at once: nobody else writes yet.
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

// tape keeps what is read.
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

// serve reads until the connection ends, which it does at once where something
// is wrong already. It begins with what opening took and did not use.
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

// frames takes the frames of r, which it then gives back.
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

// fail tells the peer what it did wrong, if that is why the connection ends.
func (c *conn) fail(r *reader, err error) {
	code := http2.ErrCodeProtocol
	if ce := http2.ConnectionError(0); errors.As(err, &ce) {
		code = http2.ErrCode(ce)
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		code = http2.ErrCodeFrameSize
	} else if r == nil || r.err != nil {
		return // the connection itself
	}
	c.server.Log.Debug("connection is in error", "peer", c.peer.Addr, "error", err)
	c.mu.Lock()
	c.control = appendGoAway(c.control, c.lastID, code)
	c.pushLocked()
	c.mu.Unlock()
	// Until the peer has read that: closing with something unread would take
	// it away.
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
		_ = c.nc.Close() // it is gone either way
	} else {
		_ = c.socket.Close()
	}
}

// end tells streams that the connection has ended.
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

// drain begins to go away.
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

// leavingPing is answered when the peer knows that the server goes away.
var leavingPing = [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g'}

// heard is when the peer last said something.
func (c *conn) heard() time.Time { return c.started.Add(time.Duration(c.read.Load())) }

// overdue tells why a connection is to be closed; "": it is not. It sends a
// PING to one that has been silent.
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
