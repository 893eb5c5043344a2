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
//
// With ten thousand connections, none of it is in the processor's cache when a message
// arrives, so it is small, and in one piece for the one stream that an Envoy opens.
type meter struct {
	mu      sync.Mutex
	in, out frames
	last    uint32
	first   incoming // ID 0: none
	more    []*incoming
	conn    *Conn
}

// incoming is the client's side of a stream.
type incoming struct {
	wait   *patience.Wait
	cost   int // of what is open, not yet added to wait
	id     uint32
	rest   uint32 // bytes left of the message
	prefix [5]byte
	have   uint8 // of prefix
	open   bool  // a message, or the first one, is incomplete
}

func newMeter(c *Conn) *meter {
	m := &meter{conn: c}
	m.in.skip = uint8(len(http2.ClientPreface))
	return m
}

// close ends all waits.
func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first.done()
	m.first.id = 0
	for _, s := range m.more {
		s.done()
	}
	m.more = nil
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
			m.add(incoming{id: f.stream, open: true, cost: streamCost})
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

func (m *meter) add(s incoming) {
	if m.first.id == 0 {
		m.first = s
		return
	}
	m.more = append(m.more, &s)
}

// settle begins or extends waits for what is incomplete, at its current cost.
func (m *meter) settle() {
	m.settleOne(&m.first)
	for _, s := range m.more {
		m.settleOne(s)
	}
}

func (m *meter) settleOne(s *incoming) {
	switch {
	case s.cost == 0:
		return
	case s.wait == nil:
		s.wait = m.begin(s.cost)
	default:
		s.wait.Grow(s.cost)
	}
	s.cost = 0
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
	for len(b) > 0 || int(s.have) == len(s.prefix) && s.rest == 0 {
		if int(s.have) < len(s.prefix) {
			if s.have == 0 && !s.open {
				s.open, s.cost = true, messageCost
			}
			n := copy(s.prefix[s.have:], b)
			s.have, b = s.have+uint8(n), b[n:]
			if int(s.have) == len(s.prefix) {
				s.rest = binary.BigEndian.Uint32(s.prefix[1:])
			}
			continue
		}
		n := int(min(uint64(len(b)), uint64(s.rest)))
		s.rest, b = s.rest-uint32(n), b[n:]
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
	if id == 0 {
		return nil
	}
	if m.first.id == id {
		return &m.first
	}
	for _, s := range m.more {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (m *meter) forget(id uint32) {
	s := m.find(id)
	if s == nil {
		return
	}
	s.done()
	if s == &m.first {
		m.first = incoming{}
		return
	}
	m.more = slices.DeleteFunc(m.more, func(o *incoming) bool { return o == s })
}

// frames follows frames in one direction, in parts of any size.
type frames struct {
	header [9]byte
	have   uint8 // bytes of header
	skip   uint8 // bytes before the first frame
	kind   http2.FrameType
	flags  http2.Flags
	begins bool   // the frame has begun with the last part
	pad    int16  // bytes after the payload; -1: the next byte is the length
	rest   uint32 // bytes left of the payload, without padding
	stream uint32
}

// next takes a part of b that belongs to a single frame. It returns the payload in that
// part, and the rest of b.
func (f *frames) next(b []byte) (payload, more []byte) {
	f.begins = false
	if f.skip > 0 {
		n := min(int(f.skip), len(b))
		f.skip -= uint8(n)
		f.kind, f.have = http2.FrameSettings, 0 // not a frame yet
		return nil, b[n:]
	}
	if f.ended() {
		f.have = 0
	}
	if int(f.have) < len(f.header) {
		n := copy(f.header[f.have:], b)
		f.have, b = f.have+uint8(n), b[n:]
		if int(f.have) == len(f.header) {
			f.head()
		}
		return nil, b
	}
	if f.pad < 0 && len(b) > 0 {
		f.pad = int16(b[0])
		f.rest -= min(f.rest, 1+uint32(b[0]))
		return nil, b[1:]
	}
	if f.rest > 0 {
		n := min(int(f.rest), len(b)) // a frame is shorter than 16 MiB
		f.rest -= uint32(n)
		return b[:n], b[n:]
	}
	n := min(int(f.pad), len(b))
	f.pad -= int16(n)
	return nil, b[n:]
}

func (f *frames) head() {
	f.begins = true
	f.rest = uint32(f.header[0])<<16 | uint32(f.header[1])<<8 | uint32(f.header[2])
	f.kind, f.flags = http2.FrameType(f.header[3]), http2.Flags(f.header[4])
	f.stream = binary.BigEndian.Uint32(f.header[5:]) & (1<<31 - 1)
	f.pad = 0
	if f.kind == http2.FrameData && f.flags.Has(http2.FlagDataPadded) && f.rest > 0 {
		f.pad = -1
	}
}

// ended reports whether the frame is complete.
func (f *frames) ended() bool { return int(f.have) == len(f.header) && f.rest == 0 && f.pad == 0 }

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
