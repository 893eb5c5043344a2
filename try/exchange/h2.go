package exchange

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// H2 is an HTTP/2 connection that exposes frames: each piece of a body is one DATA frame,
// which Envoy receives as one piece.
type H2 struct {
	conn   net.Conn
	framer *http2.Framer

	mu sync.Mutex // held while writing
}

const window = 1 << 30

// NewH2 begins HTTP/2 on a connection, as a client or as a server.
func NewH2(conn net.Conn, client bool) (*H2, error) { return newH2(conn, conn, client) }

func newH2(conn net.Conn, r io.Reader, client bool) (*H2, error) {
	h := &H2{conn: conn, framer: http2.NewFramer(conn, r)}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	preface := []byte(http2.ClientPreface)
	if client {
		if _, err := conn.Write(preface); err != nil {
			return nil, err
		}
	} else if _, err := io.ReadFull(r, preface); err != nil {
		return nil, err
	}
	if err := h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return nil, err
	}
	return h, h.framer.WriteWindowUpdate(0, window)
}

// Send sends a whole message with a single write.
func (h *H2) Send(stream uint32, m Message) error {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	headers := func(all [][2]string, end bool) {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		e.SetMaxDynamicTableSize(0)
		for _, field := range all {
			_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	}
	last := len(m.Trailers) == 0
	headers(m.Headers, last && len(m.Body) == 0)
	for i, chunk := range m.Body {
		for rest, first := chunk, true; first || len(rest) > 0; first = false {
			piece := rest[:min(len(rest), 16384)]
			rest = rest[len(piece):]
			_ = f.WriteData(stream, last && i == len(m.Body)-1 && len(rest) == 0, piece)
		}
	}
	if !last {
		headers(m.Trailers, true)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.conn.Write(b.Bytes())
	return err
}

// Reset resets a stream.
func (h *H2) Reset(stream uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
}

// Read reads messages until the connection ends. It passes each complete message to whole.
// For a stream that was reset, reset is true, and the message is what has arrived of it, or
// nil.
func (h *H2) Read(whole func(stream uint32, m *Message, reset bool)) error {
	return h.readUntil(func(stream uint32, m *Message, reset bool) error {
		whole(stream, m, reset)
		return nil
	})
}

// readUntil is like Read, but ends when whole returns an error.
func (h *H2) readUntil(whole func(stream uint32, m *Message, reset bool) error) error {
	all, size := map[uint32]*Message{}, 0
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			return err
		}
		if size += int(frame.Header().Length); size > MaxMessage {
			return errTooLarge
		}
		id := frame.Header().StreamID
		ended := false
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				h.mu.Lock()
				err = h.framer.WriteSettingsAck()
				h.mu.Unlock()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				h.mu.Lock()
				err = h.framer.WritePing(true, frame.Data)
				h.mu.Unlock()
			}
		case *http2.MetaHeadersFrame:
			var fields [][2]string
			for _, f := range frame.Fields {
				fields = append(fields, [2]string{strings.ToLower(f.Name), f.Value})
			}
			ended = frame.StreamEnded()
			if all[id] == nil {
				if status, _ := strconv.Atoi(Value(fields, ":status")); status/100 == 1 && !ended {
					break // the final response follows
				}
				all[id] = &Message{Headers: fields}
			} else {
				all[id].Trailers = fields
			}
		case *http2.DataFrame:
			if all[id] != nil && len(frame.Data()) > 0 {
				all[id].Body = append(all[id].Body, bytes.Clone(frame.Data()))
			}
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			err = whole(id, all[id], true)
			delete(all, id)
		}
		if err != nil {
			return err
		}
		if ended {
			if err := whole(id, all[id], false); err != nil {
				return err
			}
			delete(all, id)
		}
	}
}
