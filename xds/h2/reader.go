package h2

import (
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// reader reads frames. A connection has one only while there is something to read, and
// until an incomplete frame is complete.
type reader struct {
	*http2.Framer
	src io.Reader
	own *hpack.Decoder // for header blocks that do not depend on earlier ones
	buf []byte
	in  []byte // bytes read and not consumed, usually in buf
	err error  // of src

	kind http2.FrameType // of the last frame
}

// readSize is enough for what clients send once they have begun.
const readSize = 4 << 10

func newReader() *reader {
	r := &reader{buf: make([]byte, readSize), own: hpack.NewDecoder(0, nil)}
	r.Framer = http2.NewFramer(io.Discard, r)
	r.SetMaxReadFrameSize(maxFrameSize)
	r.SetReuseFrames()
	r.MaxHeaderListSize = maxHeaderList
	return r
}

// ReadFrame reads a frame. Skipped headers are an error of the connection, because the
// table that decodes later ones depends on them.
func (r *reader) ReadFrame() (http2.Frame, error) {
	h, err := r.ReadFrameHeader()
	r.kind = h.Type
	if err != nil {
		return nil, err
	}
	f, err := r.ReadFrameForHeader(h)
	if se := (http2.StreamError{}); errors.As(err, &se) && h.Type == http2.FrameHeaders && r.ErrorDetail() == nil {
		return nil, http2.ConnectionError(se.Code)
	}
	return f, err
}

// Read implements io.Reader for the Framer.
func (r *reader) Read(b []byte) (int, error) {
	if len(r.in) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if len(b) >= len(r.buf) {
			n, err := r.src.Read(b)
			r.err = err
			if n > 0 {
				err = nil // returned by the next call
			}
			return n, err
		}
		n, err := r.src.Read(r.buf)
		r.in, r.err = r.buf[:n], err
		if n == 0 {
			return 0, err
		}
	}
	n := copy(b, r.in)
	r.in = r.in[n:]
	return n, nil
}

// decodeBy sets the decoder of headers; nil: the reader's own, which keeps no state between
// blocks.
func (r *reader) decodeBy(headers *hpack.Decoder) {
	r.ReadMetaHeaders = r.own
	if headers != nil {
		r.ReadMetaHeaders = headers
	}
}

// borrow returns a reader of src, from the pool.
func (s *Server) borrow(src io.Reader, headers *hpack.Decoder) *reader {
	r := s.readers.Get().(*reader)
	r.src = src
	r.decodeBy(headers)
	return r
}

// giveBack returns a reader to the pool. It must have read whole frames without an error.
func (s *Server) giveBack(r *reader) {
	r.src, r.ReadMetaHeaders, r.in, r.err = nil, nil, nil, nil
	s.readers.Put(r)
}

// awaiting waits until a connection has something to read, without a buffer. Its fields
// avoid an allocation for each wait.
type awaiting struct {
	try func(fd uintptr) bool
	r   *reader
	err error
	one [1]byte
}

// await waits for input, and returns a reader that contains it.
func (c *conn) await() (*reader, error) {
	if c.raw == nil {
		// With TLS, the rest of a record is available with its first byte.
		n, err := c.nc.Read(c.awaiting.one[:])
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		if n == 0 {
			return nil, err
		}
		r := c.server.borrow(c.nc, c.headers)
		r.in, r.err = r.buf[:copy(r.buf, c.awaiting.one[:])], err
		return r, nil
	}
	if c.awaiting.try == nil {
		c.awaiting.try = c.tryRead
	}
	err := c.raw.Read(c.awaiting.try)
	r := c.awaiting.r
	if err == nil {
		err = c.awaiting.err
	}
	c.awaiting.r, c.awaiting.err = nil, nil
	if r == nil && err == nil {
		err = io.EOF
	}
	return r, err
}

// tryRead reports whether there was something to read, or never will be.
func (c *conn) tryRead(fd uintptr) bool {
	r := c.server.borrow(c.nc, c.headers)
	n, again, err := tryRead(fd, r.buf)
	if n > 0 {
		r.in = r.buf[:n]
		c.awaiting.r = r
		return true
	}
	c.server.giveBack(r)
	c.awaiting.err = err
	return !again
}
