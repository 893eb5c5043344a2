package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// batchSize is the most bytes that are written to the socket at once. With TLS they form
// one record.
const batchSize = 16 << 10

// batch is what is written to the socket at once.
type batch struct {
	head  []byte // headers of frames
	parts [][]byte
	size  int
	flat  []byte // for TLS
}

func (b *batch) add(part []byte) {
	if len(part) > 0 {
		b.parts = append(b.parts, part)
		b.size += len(part)
	}
}

// begin adds what f appends.
func (b *batch) begin(f func([]byte) []byte) {
	n := len(b.head)
	b.head = f(b.head)
	b.add(b.head[n:])
}

func (b *batch) reset() {
	clear(b.parts)
	b.head, b.parts, b.size = b.head[:0], b.parts[:0], 0
}

// push sends what may be sent.
func (c *conn) push() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushLocked()
}

// pushLocked sends what the windows allow, as long as the socket accepts it; the rest waits
// by reference. The caller holds c.mu.
func (c *conn) pushLocked() {
	if c.closed || !c.opened {
		return
	}
	b := c.server.batches.Get().(*batch)
	for {
		b.add(c.control)
		c.control = nil
		if !c.socket.behind() {
			c.gather(b)
		}
		if b.size == 0 {
			break
		}
		err := c.write(b)
		b.reset()
		if err != nil {
			c.closed = true // the reader also gets an error, and ends the streams
			_ = c.socket.Close()
			break
		}
	}
	c.server.batches.Put(b)
	if c.going == left && len(c.streams) == 0 && !c.closed && !c.socket.behind() {
		c.closed = true
		_ = c.nc.Close()
	}
}

func (c *conn) write(b *batch) error {
	if c.nc == c.socket {
		return c.socket.send(b.parts...)
	}
	b.flat = b.flat[:0]
	for _, p := range b.parts {
		b.flat = append(b.flat, p...)
	}
	_, err := c.nc.Write(b.flat)
	return err
}

// gather adds what streams have to send, in turn.
func (c *conn) gather(b *batch) {
	for i := 0; i < len(c.streams) && b.size < batchSize; {
		s := c.streams[i]
		for s.waiting > 0 && s.window > 0 && c.window > 0 && b.size < batchSize {
			n := int(min(int64(s.waiting), s.window, c.window, int64(c.maxFrame), batchSize))
			b.begin(func(h []byte) []byte { return appendFrame(h, n, http2.FrameData, 0, s.id) })
			s.take(b, n)
			s.window -= int64(n)
			c.window -= int64(n)
		}
		if s.waiting == 0 && s.trailers != nil {
			b.add(s.trailers)
			if !s.clientDone {
				b.begin(func(h []byte) []byte { return appendReset(h, s.id, http2.ErrCodeNo) })
			}
			c.forget(s)
			continue
		}
		i++
	}
	if n := len(c.streams); n > 1 && b.size >= batchSize { // start with another stream next time
		c.streams = append(c.streams[1:n:n], c.streams[0])
	}
}

// forget removes a stream.
func (c *conn) forget(s *Stream) {
	for i := range c.streams {
		if c.streams[i] == s {
			c.streams = append(c.streams[:i], c.streams[i+1:]...)
			break
		}
	}
	if len(c.streams) == 0 {
		c.streams = nil
		c.idle = c.server.Now()
	}
	s.closeLocked()
}

// take moves n waiting bytes to b.
func (s *Stream) take(b *batch, n int) {
	s.waiting -= n
	for n > 0 {
		p := s.pending[0]
		if len(p) > n {
			b.add(p[:n])
			s.pending[0] = p[n:]
			return
		}
		b.add(p)
		n -= len(p)
		s.pending[0] = nil
		s.pending = s.pending[1:]
	}
	if len(s.pending) == 0 {
		s.pending = nil
	}
}

func appendFrame(b []byte, length int, t http2.FrameType, flags http2.Flags, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	return append(appendFrame(b, 8, http2.FramePing, flags, 0), data[:]...)
}

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, 8, http2.FrameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameWindowUpdate, 0, stream), uint32(n))
}

// settings returns the server's SETTINGS. A connection has few headers in its life, so a
// header table would waste memory.
func settings() []byte {
	all := []http2.Setting{
		{ID: http2.SettingHeaderTableSize, Val: 0},
		{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	}
	b := appendFrame(nil, 6*len(all), http2.FrameSettings, 0, 0)
	for _, s := range all {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	return b
}
