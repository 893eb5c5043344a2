package fleet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Windows that Envoy grants by default: 16 MiB for a stream, 24 MiB for a
// connection (envoy/config/core/v3/protocol.proto).
const (
	streamWindow = 16 << 20
	connWindow   = 24 << 20
	firstWindow  = 65535 // of each side, until it sends its settings
	maxFrame     = 16384
	frameHeader  = 9
	grpcHeader   = 5
	maxMessage   = 64 << 20
	readBuffer   = 8 << 10
	theStream    = 1
)

// conn is an HTTP/2 connection with one gRPC stream. One goroutine uses it.
type conn struct {
	net     net.Conn
	in      []byte // bytes that were read and not consumed
	buf     []byte // the buffer that in is part of
	out     []byte // frames to be written
	data    []byte // bytes that wait for flow control
	message []byte // an incomplete gRPC message
	pooled  *[]byte

	sendConn, sendStream int64  // how much may be sent
	peerWindow           int64  // the server's SETTINGS_INITIAL_WINDOW_SIZE
	seen                 int64  // received since the last WINDOW_UPDATE
	stream               uint32 // of the current frame
	headers              *hpack.Decoder
	fragments            []byte // of headers that continue in the next frame

	received int64 // bytes
}

// opening is what is sent before the first message. It is the same for every
// connection, including the state of header compression.
func opening(path, authority string) []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"}, {":path", path}, {":scheme", "http"}, {":authority", authority},
		{"te", "trailers"}, {"content-type", "application/grpc"}, {"x-envoy-internal", "true"},
	} {
		must(enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	must(f.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow}))
	must(f.WriteWindowUpdate(0, connWindow-firstWindow))
	must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: theStream, BlockFragment: block.Bytes(), EndHeaders: true}))
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err) // writing to memory
	}
}

func newConn(nc net.Conn, opening []byte) *conn {
	return &conn{
		net: nc, buf: make([]byte, readBuffer), out: append(make([]byte, 0, len(opening)+64), opening...),
		sendConn: firstWindow, sendStream: firstWindow, peerWindow: firstWindow,
	}
}

// send adds a message, which the next flush sends.
func (c *conn) send(m []byte) {
	var prefix [grpcHeader]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(m)))
	c.data = append(append(c.data, prefix[:]...), m...)
	c.push()
}

// push puts as much into frames as the server's windows allow.
func (c *conn) push() {
	for len(c.data) > 0 {
		n := min(int64(len(c.data)), maxFrame, c.sendConn, c.sendStream)
		if n <= 0 {
			return
		}
		c.out = appendFrame(c.out, http2.FrameData, 0, theStream, int(n))
		c.out = append(c.out, c.data[:n]...)
		c.data = c.data[n:]
		c.sendConn -= n
		c.sendStream -= n
	}
	c.data = nil
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > readBuffer {
		c.out = nil
	}
	return err
}

func appendFrame(b []byte, t http2.FrameType, flags http2.Flags, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

// buffers hold messages that come in several frames.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// read reads what has arrived, or waits for it, and calls each with every complete
// message.
func (c *conn) read(each func([]byte) error) error {
	n, err := c.net.Read(c.buf[len(c.in):])
	if err != nil {
		return err
	}
	c.received += int64(n)
	c.in = c.buf[:len(c.in)+n]
	rest := c.in
	for len(rest) >= frameHeader {
		length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
		if length > maxFrame {
			return fmt.Errorf("a frame of %d bytes, more than was allowed", length)
		}
		if len(rest) < frameHeader+length {
			break
		}
		payload := rest[frameHeader : frameHeader+length]
		c.stream = binary.BigEndian.Uint32(rest[5:])
		if err := c.frame(http2.FrameType(rest[3]), http2.Flags(rest[4]), payload, each); err != nil {
			return err
		}
		rest = rest[frameHeader+length:]
	}
	if len(rest) == 0 {
		c.in = nil
		return nil
	}
	if need := frameHeader + maxFrame; len(c.buf) < need {
		c.buf = append(make([]byte, 0, need), rest...)[:need]
	} else {
		copy(c.buf, rest)
	}
	c.in = c.buf[:len(rest)]
	return nil
}

func (c *conn) frame(t http2.FrameType, flags http2.Flags, p []byte, each func([]byte) error) error {
	switch t {
	case http2.FrameData:
		c.grant(len(p))
		if flags.Has(http2.FlagDataPadded) {
			if len(p) == 0 || len(p) <= int(p[0]) {
				return fmt.Errorf("a frame with more padding than it is long")
			}
			p = p[1 : len(p)-int(p[0])]
		}
		return c.messages(p, each)
	case http2.FrameHeaders:
		if flags.Has(http2.FlagHeadersPadded) || flags.Has(http2.FlagHeadersPriority) {
			return fmt.Errorf("headers with padding or priority, which no gRPC server sends")
		}
		c.fragments = append(c.fragments, p...)
		return c.headersEnd(flags)
	case http2.FrameContinuation:
		c.fragments = append(c.fragments, p...)
		return c.headersEnd(flags)
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			c.settings(p)
			c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
			c.push()
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			c.out = append(appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, len(p)), p...)
		}
	case http2.FrameWindowUpdate:
		if len(p) != 4 {
			return fmt.Errorf("a window update of %d bytes", len(p))
		}
		if n := int64(binary.BigEndian.Uint32(p)); c.stream == 0 {
			c.sendConn += n
		} else {
			c.sendStream += n
		}
		c.push()
	case http2.FrameRSTStream, http2.FrameGoAway:
		return fmt.Errorf("the server sent %v % x", t, p)
	}
	return nil
}

// grant enlarges the windows of the server when half of them is used up.
func (c *conn) grant(n int) {
	if c.seen += int64(n); c.seen < streamWindow/2 {
		return
	}
	for _, stream := range []uint32{0, theStream} {
		c.out = appendFrame(c.out, http2.FrameWindowUpdate, 0, stream, 4)
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(c.seen))
	}
	c.seen = 0
}

func (c *conn) settings(p []byte) {
	for ; len(p) >= 6; p = p[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(p)) == http2.SettingInitialWindowSize {
			w := int64(binary.BigEndian.Uint32(p[2:]))
			c.sendStream += w - c.peerWindow
			c.peerWindow = w
		}
	}
}

// messages splits what has arrived into gRPC messages.
func (c *conn) messages(p []byte, each func([]byte) error) error {
	for len(p) > 0 {
		if c.message == nil {
			if len(p) >= grpcHeader {
				if n := int(binary.BigEndian.Uint32(p[1:])); len(p)-grpcHeader >= n {
					if err := each(p[grpcHeader : grpcHeader+n]); err != nil {
						return err
					}
					p = p[grpcHeader+n:]
					continue
				}
			}
			c.pooled = buffers.Get().(*[]byte)
			c.message = (*c.pooled)[:0]
		}
		want := grpcHeader
		if len(c.message) >= grpcHeader {
			size := binary.BigEndian.Uint32(c.message[1:])
			if c.message[0] != 0 || size > maxMessage {
				return fmt.Errorf("a message that is compressed or has %d bytes", size)
			}
			want += int(size)
		}
		n := min(len(p), want-len(c.message))
		c.message = append(c.message, p[:n]...)
		p = p[n:]
		if len(c.message) < grpcHeader || len(c.message) < grpcHeader+int(binary.BigEndian.Uint32(c.message[1:])) {
			continue
		}
		err := each(c.message[grpcHeader:])
		*c.pooled = c.message
		buffers.Put(c.pooled)
		c.message, c.pooled = nil, nil
		if err != nil {
			return err
		}
	}
	return nil
}

// headersEnd looks for the end of the stream, which arrives as headers.
func (c *conn) headersEnd(flags http2.Flags) error {
	if !flags.Has(http2.FlagHeadersEndHeaders) {
		return nil
	}
	if c.headers == nil {
		c.headers = hpack.NewDecoder(4096, nil)
	}
	list, err := c.headers.DecodeFull(c.fragments)
	c.fragments = nil
	if err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	status, message := "", ""
	for _, h := range list {
		switch h.Name {
		case "grpc-status":
			status = h.Value
		case "grpc-message":
			message = h.Value
		case ":status":
			if h.Value != "200" {
				return fmt.Errorf("the server answered with status %s", h.Value)
			}
		}
	}
	if status != "" {
		return fmt.Errorf("the server ended the stream: %s %s: %w", status, message, io.EOF)
	}
	return nil
}
