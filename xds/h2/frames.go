package h2

import (
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// budget limits frames that cost the peer nothing and cause work. Such frames spend it, and
// it is refilled over time and with each message that is sent to the peer.
type budget struct {
	left int
	at   time.Time
}

const (
	maxBudget       = 256
	budgetPerSecond = 16
	budgetPerSent   = 4
	streamPrice     = 8 // of a new stream, or of a reset
)

func (b *budget) fill(now time.Time) { b.left, b.at = maxBudget, now }

func (c *conn) spend(n int) error {
	b, now := &c.budget, c.heard()
	more := int(c.paid.Swap(0)) * budgetPerSent
	if d := now.Sub(b.at); d >= time.Second {
		more += int(min(d/time.Second, maxBudget)) * budgetPerSecond
		b.at = now
	}
	b.left = min(b.left+more, maxBudget) - n
	if b.left < 0 {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// frame processes a frame. Its error ends the connection.
func (c *conn) frame(f http2.Frame) error {
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.settled {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.MetaHeadersFrame:
		return c.head(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.RSTStreamFrame:
		return c.reset(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case *http2.GoAwayFrame:
		return nil // the peer opens no more streams, which needs no action
	}
	return c.spend(1)
}

// malformed responds to an error of one stream.
func (c *conn) malformed(e http2.StreamError) error {
	if err := c.spend(streamPrice); err != nil {
		return err
	}
	c.mu.Lock()
	c.lastID = max(c.lastID, e.StreamID)
	s := c.find(e.StreamID)
	c.resetLocked(e.StreamID, e.Code)
	c.mu.Unlock()
	if s != nil {
		s.over()
	}
	return nil
}

// find returns an open stream, or nil. The caller holds c.mu.
func (c *conn) find(id uint32) *Stream {
	for _, s := range c.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

// resetLocked ends a stream, if it is open. The caller must inform its receiver.
func (c *conn) resetLocked(id uint32, code http2.ErrCode) {
	c.control = appendReset(c.control, id, code)
	if s := c.find(id); s != nil {
		c.forget(s)
	}
}

// neverWas reports whether no stream can have had this ID yet.
func (c *conn) neverWas(id uint32) bool { return id > c.lastID || id%2 == 0 }

// head processes the headers of a request, or trailers.
func (c *conn) head(f *http2.MetaHeadersFrame) error {
	if f.HasPriority() && f.Priority.StreamDep == f.StreamID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	s := c.find(f.StreamID)
	c.mu.Unlock()
	switch {
	case s != nil && s.clientDone, s == nil && f.StreamID == c.lastID:
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed})
	case s != nil && (!f.StreamEnded() || len(f.PseudoFields()) > 0 || !s.lengthIs(0, true)):
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol})
	case s != nil:
		s.clientEnds()
		return nil
	case !c.neverWas(f.StreamID) || f.StreamID%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if err := c.spend(streamPrice); err != nil {
		return err
	}
	refusal, err, malformed := check(f)
	if _, ok := contentLength(f); malformed || !ok {
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol})
	}
	path := f.PseudoValue("path")
	handler := c.server.Methods[path]
	if err == nil && handler == nil {
		err = status.Errorf(codes.Unimplemented, "%s is not served on this connection: a connection's first request decides what it is for", path)
	}
	s = c.begin(f, refusal, err)
	if s == nil {
		return nil
	}
	s.serve(handler)
	if f.StreamEnded() {
		s.clientEnds()
	}
	return nil
}

// begin opens a stream. It returns nil if the stream was refused.
func (c *conn) begin(f *http2.MetaHeadersFrame, refusal string, err error) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID = f.StreamID
	if len(c.streams) >= maxStreams || c.going == left {
		c.control = appendReset(c.control, f.StreamID, http2.ErrCodeRefusedStream)
		return nil
	}
	s := newStream(c, f.StreamID)
	s.window, s.clientDone = c.initial, f.StreamEnded()
	s.length, _ = contentLength(f)
	c.streams, c.idle = append(c.streams, s), time.Time{}
	switch {
	case refusal != "":
		s.ended, s.trailers = true, appendHeaders(nil, s.id, true, ":status", refusal)
	case err != nil:
		s.endLocked(err)
	default:
		return s
	}
	return nil
}

// clientEnds ends the stream: a client that has ended its side expects nothing more.
func (s *Stream) clientEnds() {
	var err error
	if s.have > 0 {
		err = status.Error(codes.Internal, "the client ended in the middle of a message")
	}
	s.dropMessage()
	s.conn.mu.Lock()
	s.clientDone = true
	s.conn.mu.Unlock()
	s.over()
	s.End(err)
}

func (c *conn) data(f *http2.DataFrame) error {
	size := int(f.Length)
	if size == 0 && !f.StreamEnded() {
		if err := c.spend(1); err != nil {
			return err
		}
	}
	c.mu.Lock()
	s := c.find(f.StreamID)
	never := c.neverWas(f.StreamID)
	ended := s != nil && s.ended
	c.renewLocked(&c.used, 0, size)
	c.mu.Unlock()
	switch {
	case never:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil || s.clientDone:
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed})
	case !s.lengthIs(len(f.Data()), f.StreamEnded()):
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol})
	}
	if !ended {
		if err := s.receive(f.Data()); err != nil {
			s.End(err)
			ended = true
		}
	}
	if ended {
		s.dropMessage()
	}
	if f.StreamEnded() {
		s.clientEnds()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.closed {
		c.renewLocked(&s.used, s.id, size)
	}
	return nil
}

// renewLocked takes size bytes from a window of the peer, and renews it when half of it is
// used. Input is processed at once, and no frame is larger than the other half, so no frame
// can exceed the window.
func (c *conn) renewLocked(used *int, stream uint32, size int) {
	if *used += size; *used >= firstWindow/2 {
		c.control = appendWindowUpdate(c.control, stream, *used)
		*used = 0
	}
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	if f.StreamID == 0 {
		defer c.mu.Unlock()
		if c.window += int64(f.Increment); c.window > 1<<31-1 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.pushLocked()
		return nil
	}
	s, never := c.find(f.StreamID), c.neverWas(f.StreamID)
	overflow := false
	if s != nil {
		s.window += int64(f.Increment)
		overflow = s.window > 1<<31-1
		if !overflow {
			c.pushLocked()
		}
	}
	c.mu.Unlock()
	switch {
	case never:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case overflow:
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl})
	}
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if !c.settled {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.headers = nil // later header blocks need no table
		return nil
	}
	if c.settled {
		if err := c.spend(1 + f.NumSettings()); err != nil {
			return err
		}
	}
	c.settled = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.ForeachSetting(c.setLocked); err != nil {
		return err
	}
	c.control = appendFrame(c.control, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	c.pushLocked()
	return nil
}

func (c *conn) setLocked(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingInitialWindowSize:
		d := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, s := range c.streams {
			if s.window += d; s.window > 1<<31-1 {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
		}
	case http2.SettingMaxFrameSize:
		c.maxFrame = int(s.Val)
	}
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	if !f.IsAck() {
		if err := c.spend(1); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !f.IsAck():
		c.control = appendPing(c.control, true, f.Data)
	case c.going == leaving && f.Data == leavingPing:
		c.going = left
		c.control = appendGoAway(c.control, c.lastID, http2.ErrCodeNo)
	}
	return nil
}

func (c *conn) reset(f *http2.RSTStreamFrame) error {
	if err := c.spend(streamPrice); err != nil {
		return err
	}
	c.mu.Lock()
	s, never := c.find(f.StreamID), c.neverWas(f.StreamID)
	if s != nil {
		c.forget(s)
	}
	c.mu.Unlock()
	if never {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s != nil {
		s.over()
	}
	return nil
}
