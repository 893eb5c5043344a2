package conformance

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is a connection of HTTP/2, frame by frame: what is one piece of a body here,
// Envoy takes as one.
type h2 struct {
	conn   net.Conn
	framer *http2.Framer

	mu sync.Mutex // of what is written
}

const window = 1 << 30

// newH2 is a client's or a server's side.
func newH2(conn net.Conn, client bool) (*h2, error) {
	h := &h2{conn: conn, framer: http2.NewFramer(conn, conn)}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	preface := []byte(http2.ClientPreface)
	if client {
		if _, err := conn.Write(preface); err != nil {
			return nil, err
		}
	} else if _, err := io.ReadFull(conn, preface); err != nil {
		return nil, err
	}
	if err := h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return nil, err
	}
	return h, h.framer.WriteWindowUpdate(0, window)
}

// send sends a message in one go.
func (h *h2) send(stream uint32, m Message) error {
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

func (h *h2) reset(stream uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
}

// read reads messages until the connection ends. It gives each that is whole, and
// nil for one that was reset.
func (h *h2) read(whole func(stream uint32, m *Message, reset bool)) error {
	all := map[uint32]*Message{}
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			return err
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
			if all[id] == nil {
				all[id] = &Message{Headers: fields}
			} else {
				all[id].Trailers = fields
			}
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			if all[id] != nil && len(frame.Data()) > 0 {
				all[id].Body = append(all[id].Body, bytes.Clone(frame.Data()))
			}
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			whole(id, all[id], true)
			delete(all, id)
		}
		if err != nil {
			return err
		}
		if ended {
			whole(id, all[id], false)
			delete(all, id)
		}
	}
}
