package h2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wire is a client that sends single frames.
type wire struct {
	*http2.Framer
	t    testing.TB
	conn net.Conn
	mute bool // it doesn't acknowledge settings

	stubborn bool // it acknowledges them, but keeps its header table
	block    bytes.Buffer
	enc      *hpack.Encoder
}

// wire connects, and sends the preface and its settings.
func (s *scene) wire(settings ...http2.Setting) *wire {
	s.t.Helper()
	w := s.bare()
	w.must(io.WriteString(w.conn, http2.ClientPreface))
	w.ok(w.WriteSettings(settings...))
	return w
}

// bare connects, and sends nothing.
func (s *scene) bare() *wire {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		s.t.Fatal(err)
	}
	w := &wire{Framer: http2.NewFramer(conn, conn), t: s.t, conn: conn}
	w.enc = hpack.NewEncoder(&w.block)
	w.AllowIllegalWrites = true
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return w
}

// ok checks the error of a write that may come too late, after the server has closed.
func (w *wire) ok(err error) {
	w.t.Helper()
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		w.t.Fatal(err)
	}
}

func (w *wire) must(_ int, err error) { w.t.Helper(); w.ok(err) }

var usual = []string{":method", "POST", ":scheme", "http", ":path", echoPath, ":authority", "test", "content-type", "application/grpc", "te", "trailers"}

func (w *wire) headers(fields ...string) []byte {
	w.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		w.ok(w.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(w.block.Bytes())
}

func (w *wire) open(id uint32) { w.request(id, false, usual...) }

func (w *wire) request(id uint32, end bool, fields ...string) {
	w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.headers(fields...), EndHeaders: true, EndStream: end}))
}

func message(b []byte) []byte {
	m := encode(b)
	out := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))
	return append(out, m...)
}

func (w *wire) say(id uint32, b []byte) { w.ok(w.WriteData(id, false, message(b))) }

// next returns the next frame as text. It skips settings and their acknowledgements.
func (w *wire) next() string {
	w.t.Helper()
	for {
		f, err := w.ReadFrame()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.t.Fatal("nothing comes")
			}
			return "closed"
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && !w.mute {
				if v, ok := f.Value(http2.SettingHeaderTableSize); ok && !w.stubborn {
					w.enc.SetMaxDynamicTableSizeLimit(v)
				}
				w.ok(w.WriteSettingsAck())
			}
			continue
		case *http2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("RST_STREAM %d %v", f.StreamID, f.ErrCode)
		case *http2.PingFrame:
			return fmt.Sprintf("PING %v %.7s", f.IsAck(), f.Data[:])
		case *http2.WindowUpdateFrame:
			return fmt.Sprintf("WINDOW_UPDATE %d %d", f.StreamID, f.Increment)
		case *http2.DataFrame:
			return fmt.Sprintf("DATA %d %d", f.StreamID, f.Length)
		case *http2.MetaHeadersFrame:
			line := fmt.Sprintf("HEADERS %d", f.StreamID)
			for _, h := range f.Fields {
				line += " " + h.Name + "=" + h.Value
			}
			if f.StreamEnded() {
				line += " END"
			}
			return line
		}
	}
}

// expect reads the next frames. A wanted line that ends in … is a prefix.
func (w *wire) expect(want ...string) {
	w.t.Helper()
	for _, line := range want {
		got := w.next()
		if begin, ok := strings.CutSuffix(line, "…"); ok && strings.HasPrefix(got, begin) {
			continue
		}
		if got != line {
			w.t.Fatalf("got %q, want %q", got, line)
		}
	}
}

const (
	begins = "HEADERS 1 :status=200 content-type=application/grpc"
	dataOf = "DATA 1 10" // of message "one"
)
