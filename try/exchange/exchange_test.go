package exchange

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// played is a connection whose other side says what it says, whatever it is sent.
type played struct {
	net.Conn
	says bytes.Reader
	sent bytes.Buffer
}

func playedBy(b []byte) *played {
	p := new(played)
	p.says.Reset(b)
	return p
}

func (p *played) Read(b []byte) (int, error)  { return p.says.Read(b) }
func (p *played) Write(b []byte) (int, error) { return p.sent.Write(b) }
func (p *played) SetDeadline(time.Time) error { return nil }

// checkFields checks that no header of a message can be taken for two.
func checkFields(t *testing.T, m *Message) {
	t.Helper()
	for _, h := range slices.Concat(m.Headers, m.Trailers) {
		if h[0] != strings.ToLower(h[0]) || strings.ContainsAny(h[0]+h[1], "\r\n\x00") {
			t.Errorf("header %q", h)
		}
	}
}

// FuzzServeH1 checks the requests that are read of any bytes, and that each reads the same
// when it is sent again.
func FuzzServeH1(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nhost: a\r\nX-A: 1\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"))
	f.Add([]byte("POST / HTTP/1.1\r\nhost: a\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"))
	f.Add([]byte("HEAD http://a/b HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range requestsH1(t, b) {
			checkFields(t, &m)
			p := playedBy(nil)
			_, _ = requestH1(p, m)
			again := requestsH1(t, p.sent.Bytes())
			if len(again) != 1 {
				t.Fatalf("%q is read as %d requests", p.sent.Bytes(), len(again))
			}
			if got := again[0]; !reflect.DeepEqual(got.Body, m.Body) || !slices.Equal(pseudo(got), pseudo(m)) {
				t.Errorf("sent\n%q, read\n%q", m, got)
			}
		}
	})
}

func requestsH1(t *testing.T, b []byte) (all []Message) {
	conn := playedBy(b)
	serveH1(t.Context(), conn, bufio.NewReader(conn), func(m Message) *Answer {
		all = append(all, m)
		return &Answer{Message: Message{Headers: [][2]string{{":status", "200"}}}}
	})
	return all
}

func pseudo(m Message) [][2]string {
	return slices.DeleteFunc(slices.Clone(m.Headers), func(h [2]string) bool { return !strings.HasPrefix(h[0], ":") })
}

// FuzzRequestH1 checks the response that a client reads of any bytes.
func FuzzRequestH1(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 503\r\n\r\ncut off"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := requestH1(playedBy(b), Message{Headers: [][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "a"}}})
		if err == nil && got.Message == nil && !got.Reset {
			t.Error("neither a response nor the end of the connection")
		}
		if got.Message != nil {
			checkFields(t, got.Message)
			if Value(got.Message.Headers, ":status") == "" {
				t.Errorf("no status: %q", got.Message)
			}
		}
	})
}

// FuzzReadH2 checks the messages that are read of any frames, and that each reads the same
// when it is sent again.
func FuzzReadH2(f *testing.F) {
	for _, m := range []Message{
		{Headers: [][2]string{{":status", "200"}, {"a", "b"}}},
		{Headers: [][2]string{{":method", "POST"}, {":path", "/"}}, Body: [][]byte{[]byte("ab"), []byte("c")}, Trailers: [][2]string{{"grpc-status", "0"}}},
		{Body: [][]byte{make([]byte, 20000)}},
	} {
		f.Add(sentH2(f, m))
		f.Add(append(sentH2(f, m), "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"...)) // RST_STREAM
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range messagesH2(t, b) {
			checkFields(t, m)
			again := messagesH2(t, sentH2(t, *m))
			if len(again) != 1 || !reflect.DeepEqual(again[0], m) {
				t.Errorf("sent\n%+v, read\n%d messages, the first %+v", m, len(again), again[:min(len(again), 1)])
			}
		}
	})
}

func sentH2(t testing.TB, m Message) []byte {
	conn := playedBy(nil)
	h, err := NewH2(conn, true)
	if err != nil {
		t.Fatal(err)
	}
	conn.sent.Reset() // of the preface
	if err := h.Send(1, m); err != nil {
		t.Fatal(err)
	}
	return conn.sent.Bytes()
}

func messagesH2(t testing.TB, b []byte) (all []*Message) {
	h, err := NewH2(playedBy(b), true)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Read(func(_ uint32, m *Message, reset bool) {
		if m != nil && !reset {
			all = append(all, m)
		}
	})
	if err == nil {
		t.Error("reading has ended without an error")
	}
	return all
}

// FuzzCalled checks that the messages of gRPC are what stands between their frames, and that
// less than a frame is left over.
func FuzzCalled(f *testing.F) {
	f.Add(Framed([]byte("abc")), uint8(2))
	f.Add(append(Framed(nil), 0, 0xff, 0xff, 0xff, 0xff, 1), uint8(7))
	f.Fuzz(func(t *testing.T, body []byte, at uint8) {
		cut := min(int(at), len(body))
		got := Called(Message{Headers: [][2]string{{"content-type", "application/grpc"}}, Body: [][]byte{body[:cut], body[cut:]}})
		rest := body
		for i, piece := range got.Body {
			if len(rest) < frame || !bytes.HasPrefix(rest[frame:], piece) {
				t.Fatalf("message %d: %q of %q", i, piece, rest)
			}
			if last := len(rest) == frame+len(piece); !last && !bytes.Equal(rest[1:frame], Framed(piece)[1:frame]) {
				t.Errorf("message %d: %q of %q", i, piece, rest)
			}
			rest = rest[frame+len(piece):]
		}
		if len(rest) >= frame {
			t.Errorf("%q is left over", rest)
		}
	})
}

// TestServe checks that both protocols are told apart and answered.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := Serve(ctx, func(m Message) *Answer {
		return &Answer{Message: Message{Headers: [][2]string{{":status", "200"}, {"x-path", Value(m.Headers, ":path")}}, Body: m.Body}}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, http2 := range []bool{false, true} {
		conn, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		ask := requestH1
		if http2 {
			ask = requestH2
		}
		got, err := ask(conn, Message{Headers: [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/a"}, {":authority", "b"}}, Body: [][]byte{[]byte("abc")}})
		if err != nil || got.Message == nil || Value(got.Message.Headers, "x-path") != "/a" || string(slices.Concat(got.Message.Body...)) != "abc" {
			t.Errorf("http2 %v: %v, %+v", http2, err, got)
		}
	}
}
