package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Sweep exposes what the Server does each second.
func (s *Server) Sweep() { s.sweep(s.Now()) }

// heard is a connection from which recorded bytes are read, and then EOF.
type heard struct {
	io.Reader
	step int // bytes at once
	sent bytes.Buffer
}

func (h *heard) Read(b []byte) (int, error)       { return h.Reader.Read(b[:min(len(b), h.step)]) }
func (h *heard) Write(b []byte) (int, error)      { return h.sent.Write(b) }
func (h *heard) Close() error                     { return nil }
func (h *heard) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (h *heard) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (h *heard) SetDeadline(time.Time) error      { return nil }
func (h *heard) SetReadDeadline(time.Time) error  { return nil }
func (h *heard) SetWriteDeadline(time.Time) error { return nil }

// answering sends a message for each one that it receives, and ends the stream at an empty
// one.
type answering struct {
	*Stream
	told map[*Stream]int
}

func (a answering) Receive(b []byte) error {
	if len(b) == 0 {
		return errors.New("nothing")
	}
	return a.Send(bytes.Clone(b))
}

func (a answering) Ended() { a.told[a.Stream]++ }

// recorded returns what a real client would send.
func recorded(data ...[]byte) []byte {
	var out, block bytes.Buffer
	out.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&out, nil)
	must := func(err error) {
		if err != nil {
			panic(err) // into memory
		}
	}
	must(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}))
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/a"}, {":authority", "b"}, {"content-type", "application/grpc"}} {
		must(enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	for _, d := range data {
		must(f.WriteData(1, false, d))
	}
	must(f.WriteSettingsAck())
	must(f.WriteWindowUpdate(1, 100))
	must(f.WritePing(false, [8]byte{1}))
	must(f.WriteRSTStream(1, http2.ErrCodeCancel))
	return out.Bytes()
}

// FuzzConn serves arbitrary bytes, and checks that the connection ends, that the output is
// frames, and that each stream ends and notifies its receiver exactly once.
func FuzzConn(f *testing.F) {
	f.Add([]byte(http2.ClientPreface), 100)
	f.Add(recorded([]byte{0, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0}), 1000)
	f.Add(recorded([]byte{0, 0, 0}, []byte{0, 4, 'a', 'b'}, []byte{'c', 'd', 0}), 7)
	f.Add(recorded([]byte{0, 255, 255, 255, 255}), 1)
	f.Add(recorded([]byte{1, 0, 0, 0, 1, 'z'}), 50)
	f.Add(recorded([]byte{7, 0, 0, 0, 0}), 50)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		var streams []*Stream
		told := map[*Stream]int{}
		s := New(Options{Methods: map[string]Handler{"/a": func(st *Stream) Receiver {
			streams = append(streams, st)
			return answering{st, told}
		}}})
		nc := &heard{Reader: bytes.NewReader(b), step: max(step, 1)}
		c := newConn(s, nc)
		s.add(c)
		c.open()
		s.Stop()
		if len(told) != len(streams) || len(c.streams) > 0 {
			t.Errorf("%d of %d streams were told, %d are left", len(told), len(streams), len(c.streams))
		}
		for _, st := range streams {
			if told[st] != 1 {
				t.Errorf("a stream was told %d times", told[st])
			}
			if st.Context().Err() == nil {
				t.Error("a stream goes on")
			}
		}
		sent := http2.NewFramer(nil, &nc.sent)
		sent.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		for nc.sent.Len() > 0 {
			if _, err := sent.ReadFrame(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("it sent what is no frame: %v", err)
			}
		}
	})
}
