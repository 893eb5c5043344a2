package transport

import (
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/net/http2"

	"wasmxds/xds/patience"
)

// meter follows the frames of an HTTP/2 connection that grpc serves, in both directions, to
// know how much of an incomplete message has arrived: grpc holds that, and exposes it only
// when it is complete. It changes nothing.
type meter struct {
	conn *Conn

	mu      sync.Mutex
	in, out frames
	streams []*incoming
	last    uint32
}

// incoming is the client's side of a stream.
type incoming struct {
	id     uint32
	prefix [5]byte
	have   int  // of prefix
	rest   int  // bytes left of the message
	open   bool // a message, or the first one, is incomplete
	cost   int  // of what is open, not yet added to wait
	wait   *patience.Wait
}

func newMeter(c *Conn) *meter {
	m := &meter{conn: c}
	m.in.skip = len(http2.ClientPreface)
	return m
}

// close ends all waits.
func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		s.done()
	}
	m.streams = nil
}

func (s *incoming) done() {
	s.open, s.cost = false, 0
	if s.wait != nil {
		s.wait.Done()
		s.wait = nil
	}
}

// begin begins a wait for the client. If that ends the wait, it cuts the connection: an
// Envoy has one to itself.
func (m *meter) begin(cost int) *patience.Wait {
	c := m.conn
	return c.listener.messages.Begin(c.addr, cost, wholeMessage, func(error) { c.Cut() })
}

// read processes what was read. Most messages arrive whole, in one read, so waits begin
// only at its end.
func (m *meter) read(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.settle()
	for len(b) > 0 {
		var part []byte
		part, b = m.in.next(b)
		f := &m.in
		s := m.find(f.stream)
		switch {
		case f.kind == http2.FrameHeaders && f.begins && s == nil && f.stream > m.last:
			m.last = f.stream
			m.streams = append(m.streams, &incoming{id: f.stream, open: true, cost: streamCost})
		case f.kind == http2.FrameData && s != nil:
			if f.begins && s.open {
				s.cost += frameCost
			}
			m.data(s, part)
		}
		if f.ended() && f.stops() {
			m.forget(f.stream)
		}
	}
}

// settle begins or extends waits for what is incomplete, at its current cost.
func (m *meter) settle() {
	for _, s := range m.streams {
		switch {
		case s.cost == 0:
			continue
		case s.wait == nil:
			s.wait = m.begin(s.cost)
		default:
			s.wait.Grow(s.cost)
		}
		s.cost = 0
	}
}

// wrote processes what is written, because the server ends streams as well. within means
// that b ends within a frame, the rest of which is written next.
func (m *meter) wrote(b []byte) (within bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(b) > 0 {
		_, b = m.out.next(b)
		if m.out.ended() && m.out.stops() {
			m.forget(m.out.stream)
		}
	}
	return m.out.have > 0 && !m.out.ended()
}

// data processes a part of the messages of a stream.
func (m *meter) data(s *incoming, b []byte) {
	for len(b) > 0 || s.have == len(s.prefix) && s.rest == 0 {
		if s.have < len(s.prefix) {
			if s.have == 0 && !s.open {
				s.open, s.cost = true, messageCost
			}
			n := copy(s.prefix[s.have:], b)
			s.have, b = s.have+n, b[n:]
			if s.have == len(s.prefix) {
				s.rest = int(binary.BigEndian.Uint32(s.prefix[1:]))
			}
			continue
		}
		n := min(len(b), s.rest)
		s.rest, b = s.rest-n, b[n:]
		if s.rest == 0 {
			s.have = 0
			s.done()
			m.conn.proven()
			continue
		}
		s.cost += n
	}
}

func (m *meter) find(id uint32) *incoming {
	for _, s := range m.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (m *meter) forget(id uint32) {
	if s := m.find(id); s != nil {
		s.done()
		m.streams = slices.DeleteFunc(m.streams, func(o *incoming) bool { return o == s })
	}
}

// frames follows frames in one direction, in parts of any size.
type frames struct {
	skip   int // bytes before the first frame
	header [9]byte
	have   int // bytes of header
	rest   int // bytes left of the payload, without padding
	pad    int // bytes after it; -1: the next byte is the length

	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
	begins bool // the frame has begun with the last part
}

// next takes a part of b that belongs to a single frame. It returns the payload in that
// part, and the rest of b.
func (f *frames) next(b []byte) (payload, more []byte) {
	f.begins = false
	if f.skip > 0 {
		n := min(f.skip, len(b))
		f.skip -= n
		f.kind, f.have = http2.FrameSettings, 0 // not a frame yet
		return nil, b[n:]
	}
	if f.ended() {
		f.have = 0
	}
	if f.have < len(f.header) {
		n := copy(f.header[f.have:], b)
		f.have, b = f.have+n, b[n:]
		if f.have == len(f.header) {
			f.head()
		}
		return nil, b
	}
	if f.pad < 0 && len(b) > 0 {
		f.pad = int(b[0])
		f.rest = max(f.rest-1-f.pad, 0)
		return nil, b[1:]
	}
	if f.rest > 0 {
		n := min(f.rest, len(b))
		f.rest -= n
		return b[:n], b[n:]
	}
	n := min(f.pad, len(b))
	f.pad -= n
	return nil, b[n:]
}

func (f *frames) head() {
	f.begins = true
	f.rest = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
	f.kind, f.flags = http2.FrameType(f.header[3]), http2.Flags(f.header[4])
	f.stream = binary.BigEndian.Uint32(f.header[5:]) & (1<<31 - 1)
	f.pad = 0
	if f.kind == http2.FrameData && f.flags.Has(http2.FlagDataPadded) && f.rest > 0 {
		f.pad = -1
	}
}

// ended reports whether the frame is complete.
func (f *frames) ended() bool { return f.have == len(f.header) && f.rest == 0 && f.pad == 0 }

// stops reports whether the frame ends its side of the stream.
func (f *frames) stops() bool {
	switch f.kind {
	case http2.FrameRSTStream:
		return true
	case http2.FrameData, http2.FrameHeaders:
		return f.flags.Has(http2.FlagDataEndStream) // the same flag for both
	}
	return false
}
