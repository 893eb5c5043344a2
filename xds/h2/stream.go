package h2

import (
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Stream is a gRPC stream. Its methods are safe for concurrent use.
type Stream struct {
	conn     *conn
	id       uint32
	ctx      context.Context
	cancel   context.CancelFunc
	receiver Receiver // set once, by the reader while it holds conn.mu

	// Used only by the reader: the incoming message.
	header  [prefixLen]byte
	have    int // of header
	message []byte
	used    int   // bytes of the window used since its last renewal
	length  int64 // bytes left of content-length; negative: there is none

	// Guarded by conn.mu.
	pending    [][]byte // to be sent when windows and socket allow
	waiting    int      // bytes of pending
	window     int64    // bytes that may be sent; negative after SETTINGS that reduced it
	begun      bool     // headers were sent
	clientDone bool     // the client has ended its side
	ended      bool     // the receiver gets nothing more
	told       bool     // Ended was called
	wait       Wait     // for the client; nil: none
	trailers   []byte   // to be sent after pending; nil: not yet
	closed     bool     // removed from the connection
}

// prefixLen is the length of a message's prefix: a compression flag, and the message's
// length.
const prefixLen = 5

// ErrEnded is returned when sending on a stream that has ended.
var ErrEnded = errors.New("the stream has ended")

func newStream(c *conn, id uint32) *Stream {
	s := &Stream{conn: c, id: id}
	s.ctx, s.cancel = context.WithCancel(peer.NewContext(context.Background(), &c.peer))
	return s
}

// Context returns a context that ends with the stream. It contains grpc's peer.
func (s *Stream) Context() context.Context { return s.ctx }

// Send sends a message that consists of parts, which must never change, because they are
// not copied. It does not block, and does not limit what it accepts: the caller knows what
// the client has answered.
func (s *Stream) Send(parts ...[]byte) error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ended || s.closed || c.closed {
		return ErrEnded
	}
	s.beginLocked()
	prefix := make([]byte, prefixLen)
	s.pending = append(s.pending, prefix)
	size := 0
	for _, p := range parts {
		if len(p) > 0 {
			s.pending = append(s.pending, p)
			size += len(p)
		}
	}
	binary.BigEndian.PutUint32(prefix[1:], uint32(size))
	s.waiting += prefixLen + size
	c.paid.Add(1)
	c.pushLocked()
	return nil
}

func (s *Stream) beginLocked() {
	if !s.begun {
		s.begun = true
		s.conn.control = appendHeaders(s.conn.control, s.id, false, ":status", "200", "content-type", "application/grpc")
	}
}

// End ends the stream with the gRPC status of err (nil: OK), once earlier messages have
// been sent. The context ends at once.
func (s *Stream) End(err error) {
	s.conn.mu.Lock()
	if !s.closed && s.trailers == nil {
		s.endLocked(err)
		s.conn.pushLocked()
	}
	s.conn.mu.Unlock()
	s.tell()
}

func (s *Stream) endLocked(err error) {
	st := status.Convert(err)
	fields := []string{"grpc-status", codeText(st.Code())}
	if st.Message() != "" {
		fields = append(fields, "grpc-message", encodeMessage(st.Message()))
	}
	if !s.begun { // trailers only
		fields = append([]string{":status", "200", "content-type", "application/grpc"}, fields...)
	}
	s.begun, s.ended = true, true
	s.trailers = appendHeaders(nil, s.id, true, fields...)
	s.cancel()
}

// over ends the stream for its receiver.
func (s *Stream) over() {
	s.conn.mu.Lock()
	s.ended = true
	s.conn.mu.Unlock()
	s.tell()
}

// tell calls Ended, if the stream has ended and has a receiver that does not know yet. It
// is called after whatever may have ended the stream.
func (s *Stream) tell() {
	s.conn.mu.Lock()
	ended := s.ended || s.closed
	told := s.told || s.receiver == nil || !ended
	s.told = s.told || !told
	var wait Wait
	if ended {
		wait, s.wait = s.wait, nil
	}
	s.conn.mu.Unlock()
	if wait != nil {
		wait.Done()
	}
	if !told {
		s.receiver.Ended()
	}
}

// serve creates the receiver, which may have ended the stream already.
func (s *Stream) serve(handler Handler) {
	r := handler(s)
	s.conn.mu.Lock()
	s.receiver = r
	s.conn.mu.Unlock()
	s.await(0) // the first message
	s.tell()
}

// closeLocked releases what the stream holds.
func (s *Stream) closeLocked() {
	s.closed, s.pending, s.waiting = true, nil, 0
	s.cancel()
}

// receive processes a part of the incoming messages.
func (s *Stream) receive(b []byte) error {
	for len(b) > 0 {
		if s.have < prefixLen {
			n := copy(s.header[s.have:], b)
			s.have += n
			b = b[n:]
			if s.have < prefixLen {
				s.await(0)
				return nil
			}
		}
		size := int(binary.BigEndian.Uint32(s.header[1:]))
		switch {
		case s.header[0] == 1:
			return status.Error(codes.Unimplemented, "messages are not to be compressed")
		case s.header[0] != 0:
			return status.Errorf(codes.Internal, "a message begins with %#x", s.header[0])
		case size > maxMessage:
			return status.Errorf(codes.ResourceExhausted, "a message of %d bytes, more than %d", size, maxMessage)
		}
		message := b[:min(len(b), size-len(s.message))]
		b = b[len(message):]
		if len(s.message)+len(message) < size {
			return s.keep(message, size)
		}
		if s.message != nil {
			message = append(s.message, message...)
		}
		s.have, s.message = 0, nil
		s.whole()
		if err := s.receiver.Receive(message); err != nil {
			return err
		}
	}
	return nil
}

// firstKept is the largest buffer that is allocated for a message before its bytes arrive.
const firstKept = 64 << 10

// keep stores a part of an incomplete message.
func (s *Stream) keep(part []byte, size int) error {
	if s.conn.unfinished()+len(part) > maxMessage {
		return status.Errorf(codes.ResourceExhausted, "unfinished messages of more than %d bytes", maxMessage)
	}
	before := cap(s.message)
	if s.message == nil {
		s.message = make([]byte, 0, min(size, firstKept))
	}
	s.message = append(s.message, part...)
	s.await(cap(s.message) - before)
	return nil
}

// await waits for the client to complete something, for which more additional bytes are
// held.
func (s *Stream) await(more int) {
	begin := s.conn.server.Wait
	if begin == nil {
		return
	}
	s.conn.mu.Lock()
	wait, ended := s.wait, s.ended || s.closed
	s.conn.mu.Unlock()
	if wait == nil && !ended {
		wait = begin(s.conn.peer.Addr, s.tooSlow)
		s.conn.mu.Lock()
		s.wait, ended = wait, s.ended || s.closed
		s.conn.mu.Unlock()
	}
	switch {
	case wait == nil:
	case ended:
		wait.Done()
	case more > 0:
		wait.Grow(more)
	}
}

// tooSlow ends the stream, and drops everything it holds: trailers would wait for what the
// client has not read.
func (s *Stream) tooSlow(err error) {
	s.End(status.Error(codes.ResourceExhausted, err.Error()))
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.closed {
		c.resetLocked(s.id, http2.ErrCodeEnhanceYourCalm)
		c.pushLocked()
	}
}

// dropMessage drops the incoming message. Only the reader may call it.
func (s *Stream) dropMessage() { s.have, s.message = 0, nil }

// lengthIs subtracts n bytes from content-length, and reports whether that is possible and,
// if end is true, whether nothing is left.
func (s *Stream) lengthIs(n int, end bool) bool {
	if s.length < 0 {
		return true
	}
	if int64(n) > s.length {
		return false
	}
	s.length -= int64(n)
	return !end || s.length == 0
}

// whole ends the wait for the client.
func (s *Stream) whole() {
	s.conn.mu.Lock()
	wait := s.wait
	s.wait = nil
	s.conn.mu.Unlock()
	if wait != nil {
		wait.Done()
	}
}

// unfinished returns how many bytes of incomplete messages are held.
func (c *conn) unfinished() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		n += len(s.message)
	}
	return n
}
