package h2_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"wasmxds/xds/h2"
)

// TestErrors checks that each error is answered with its code, and that a stream error ends
// only the stream.
func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(w *wire)
		want []string
	}{
		"even stream": {func(w *wire) { w.open(2) }, []string{"GOAWAY 0 PROTOCOL_ERROR", "closed"}},
		"stream again": {func(w *wire) { w.open(3); w.open(1) },
			[]string{"GOAWAY 3 PROTOCOL_ERROR"}},
		"data on no stream": {func(w *wire) { w.open(1); w.say(3, nil) }, []string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"data on stream 0":  {func(w *wire) { w.open(1); w.say(0, nil) }, []string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"reset of no stream": {func(w *wire) { w.open(1); w.ok(w.WriteRSTStream(3, http2.ErrCodeCancel)) },
			[]string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"window of no stream": {func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(3, 1)) },
			[]string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"connection window too large": {func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(0, 1<<31-1)) },
			[]string{"GOAWAY 1 FLOW_CONTROL_ERROR"}},
		"connection window by nothing": {func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(0, 0)) },
			[]string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"stream window too large": {func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(1, 1<<31-1)); w.open(3); w.say(3, []byte("one")) },
			[]string{"RST_STREAM 1 FLOW_CONTROL_ERROR", "HEADERS 3…", "DATA 3 10"}},
		"stream window by nothing": {func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(1, 0)) }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"initial window too large": {func(w *wire) {
			w.open(1)
			w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		}, []string{"GOAWAY 1 FLOW_CONTROL_ERROR"}},
		"initial window makes one too large": {func(w *wire) {
			w.open(1)
			w.ok(w.WriteWindowUpdate(1, 1000))
			w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
		}, []string{"GOAWAY 1 FLOW_CONTROL_ERROR"}},
		"frame size": {func(w *wire) { w.open(1); w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})) },
			[]string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"frame too large": {func(w *wire) { w.open(1); w.ok(w.WriteData(1, false, make([]byte, 16<<10+1))) },
			[]string{"GOAWAY 1 FRAME_SIZE_ERROR"}},
		"push promise": {func(w *wire) {
			w.open(1)
			w.ok(w.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, []string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"continuation of nothing": {func(w *wire) { w.open(1); w.ok(w.WriteContinuation(1, true, nil)) },
			[]string{"GOAWAY 1 PROTOCOL_ERROR"}},
		"headers cut": {func(w *wire) {
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.headers(usual...)}))
			w.say(1, nil)
		}, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"headers not HPACK": {func(w *wire) {
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff}, EndHeaders: true}))
		}, []string{"GOAWAY 0 COMPRESSION_ERROR"}},
		"no path":           {func(w *wire) { w.request(1, false, ":method", "POST", ":scheme", "http") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"header of HTTP/1":  {func(w *wire) { w.request(1, false, append(usual, "connection", "close")...) }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"header in capital": {func(w *wire) { w.request(1, false, append(usual, "Upper", "x")...) }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"GET": {func(w *wire) { w.request(1, true, append([]string{":method", "GET"}, usual[2:]...)...) },
			[]string{"HEADERS 1 :status=405 END"}},
		"not gRPC": {func(w *wire) {
			w.request(1, false, append([]string{"content-type", "text/plain"}, "te", "trailers")...)
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"another type": {func(w *wire) {
			w.request(1, false, ":method", "POST", ":scheme", "http", ":path", echoPath, "content-type", "application/grpcweb")
		}, []string{"HEADERS 1 :status=415 END", "RST_STREAM 1 NO_ERROR"}},
		"another path": {func(w *wire) {
			w.request(1, false, ":method", "POST", ":scheme", "http", ":path", "/a/b", "content-type", "application/grpc+proto")
		}, []string{"HEADERS 1 :status=200 content-type=application/grpc grpc-status=12 grpc-message=/a/b is not served…", "RST_STREAM 1 NO_ERROR"}},
		"headers too large": {func(w *wire) {
			block := w.headers(append(usual, "x-large", strings.Repeat("~", 12<<10), "x-more", strings.Repeat("~", 5<<10))...)
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]}))
			for block = block[16<<10:]; len(block) > 16<<10; block = block[16<<10:] {
				w.ok(w.WriteContinuation(1, false, block[:16<<10]))
			}
			w.ok(w.WriteContinuation(1, true, block))
		}, []string{"HEADERS 1 :status=200 content-type=application/grpc grpc-status=8…", "RST_STREAM 1 NO_ERROR"}},
		"headers without an end": {func(w *wire) {
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.headers(usual...)}))
			for i := range 100 {
				w.ok(w.WriteContinuation(1, false, w.headers(fmt.Sprint("x-", i), strings.Repeat("~", 4<<10))))
			}
		}, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		"trailers": {func(w *wire) { w.open(1); w.say(1, []byte("one")); w.request(1, true, "x-end", "1") },
			[]string{begins, dataOf, "HEADERS 1 grpc-status=0 END"}},
		"trailers that are none": {func(w *wire) { w.open(1); w.open(1) }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		"request of nothing":     {func(w *wire) { w.request(1, true, usual...) }, []string{begins + " grpc-status=0 END"}},
		"data after the end": {func(w *wire) { w.request(1, true, usual...); w.say(1, nil) },
			[]string{begins + " grpc-status=0 END", "RST_STREAM 1 STREAM_CLOSED"}},
		"half a message": {func(w *wire) { w.open(1); w.ok(w.WriteData(1, true, message([]byte("one"))[:7])) },
			[]string{begins + " grpc-status=13…"}},
		"message of a strange kind": {func(w *wire) { w.open(1); w.ok(w.WriteData(1, false, []byte{7, 0, 0, 0, 0})) },
			[]string{begins + " grpc-status=13…", "RST_STREAM 1 NO_ERROR"}},
		"17 streams": {func(w *wire) {
			for i := range uint32(17) {
				w.open(2*i + 1)
			}
			w.say(31, []byte("one"))
		}, []string{"RST_STREAM 33 REFUSED_STREAM", "HEADERS 31…", "DATA 31 10"}},
		"ping": {func(w *wire) { w.open(1); w.ok(w.WritePing(false, [8]byte{'h', 'e', 'l', 'l', 'o', '!', '!'})) }, []string{"PING true hello!!"}},
		"unknown frame": {func(w *wire) {
			w.open(1)
			w.ok(w.WriteRawFrame(0xee, 0xff, 1, []byte("x")))
			w.ok(w.WritePriority(1, http2.PriorityParam{}))
			w.ok(w.WriteGoAway(0, http2.ErrCodeNo, nil))
			w.say(1, []byte("one"))
		}, []string{begins, dataOf}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, h2.Options{})
			w := s.wire()
			test.do(w)
			w.expect(test.want...)
		})
	}
}

// TestFloods checks that frames that cost a client nothing but make work are limited.
func TestFloods(t *testing.T) {
	for name, each := range map[string]func(w *wire, i uint32){
		"PING":         func(w *wire, _ uint32) { w.ok(w.WritePing(false, [8]byte{})) },
		"SETTINGS":     func(w *wire, _ uint32) { w.ok(w.WriteSettings()) },
		"empty DATA":   func(w *wire, _ uint32) { w.ok(w.WriteData(1, false, nil)) },
		"PRIORITY":     func(w *wire, _ uint32) { w.ok(w.WritePriority(1, http2.PriorityParam{})) },
		"unknown":      func(w *wire, _ uint32) { w.ok(w.WriteRawFrame(0xee, 0, 1, nil)) },
		"rapid reset":  func(w *wire, i uint32) { w.open(2*i + 3); w.ok(w.WriteRSTStream(2*i+3, http2.ErrCodeCancel)) },
		"many streams": func(w *wire, i uint32) { w.open(2*i + 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			s := start(t, h2.Options{Now: c.Now})
			w := s.wire()
			w.mute = true
			w.open(1)
			go func() {
				for i := range uint32(1000) {
					each(w, i)
				}
			}()
			for {
				line := w.next()
				if line == "closed" {
					t.Fatal("closed without a word")
				}
				if strings.HasPrefix(line, "GOAWAY") {
					if !strings.HasSuffix(line, "ENHANCE_YOUR_CALM") {
						t.Error(line)
					}
					return
				}
			}
		})
	}
}

// TestPingsArePaidFor checks that a client may send more pings if it receives messages.
func TestPingsArePaidFor(t *testing.T) {
	c := newClock()
	s := start(t, h2.Options{Now: c.Now})
	w := s.wire()
	w.open(1)
	w.say(1, []byte("one"))
	w.expect(begins, dataOf)
	for range 300 {
		w.ok(w.WritePing(false, [8]byte{}))
		w.say(1, []byte("one"))
		w.expect("PING true \x00\x00\x00\x00\x00\x00\x00", dataOf)
	}
}

// TestSendWindows checks that data waits for both windows, and continues when they grow.
func TestSendWindows(t *testing.T) {
	s := start(t, h2.Options{})
	w := s.wire(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
	w.open(1)
	w.say(1, []byte("one")) // 10 bytes
	w.expect(begins, "DATA 1 4")
	w.ok(w.WriteWindowUpdate(1, 1))
	w.expect("DATA 1 1")
	// Less than zero: 4 of 5 bytes have been sent already.
	w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}))
	w.ok(w.WriteWindowUpdate(1, 3)) // with this the window is zero
	w.ok(w.WritePing(false, [8]byte{}))
	w.expect("PING true…")
	w.ok(w.WriteWindowUpdate(1, 2))
	w.expect("DATA 1 2")
	w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}))
	w.expect("DATA 1 3")

	// The connection's window: 65535 less 10.
	w.ok(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}))
	w.say(1, []byte("many "+strings.Repeat("x", 17))) // 17 of 4008 bytes
	sum := 0
	for sum < 65535-10 {
		n := 0
		line := w.next()
		if _, err := fmt.Sscanf(line, "DATA 1 %d", &n); err != nil {
			t.Fatal(line)
		}
		sum += n
	}
	w.ok(w.WritePing(false, [8]byte{}))
	w.expect("PING true…")
	w.ok(w.WriteWindowUpdate(0, 1<<20))
	w.expect(fmt.Sprintf("DATA 1 %d", 17*4008-sum))
}

// TestReceiveWindows checks that a window is renewed when half of it is used.
func TestReceiveWindows(t *testing.T) {
	s := start(t, h2.Options{})
	w := s.wire()
	w.open(1)
	first := message(make([]byte, 1<<20))
	for range 2 {
		w.ok(w.WriteData(1, false, first[:16<<10]))
	}
	w.expect("WINDOW_UPDATE 0 32768", "WINDOW_UPDATE 1 32768")
	w.ok(w.WriteDataPadded(1, false, first[:100], make([]byte, 200))) // padding counts
	w.ok(w.WriteData(1, false, first[:16<<10]))
	w.ok(w.WriteData(1, false, first[:16<<10-301]))
	w.expect("WINDOW_UPDATE 0 32768", "WINDOW_UPDATE 1 32768")
}

// TestUnfinishedMessages checks that the incomplete messages of a connection are limited.
func TestUnfinishedMessages(t *testing.T) {
	s := start(t, h2.Options{})
	w := s.wire()
	w.mute = true
	go func() {
		for i := range uint32(3) {
			w.open(2*i + 1)
			part := message(make([]byte, 3<<20))
			for sent := 0; sent < 2<<20; sent += 16 << 10 {
				w.ok(w.WriteData(2*i+1, false, part[:16<<10]))
				part = part[16<<10:]
				if sent%(32<<10) != 0 {
					time.Sleep(time.Millisecond) // for the server's windows
				}
			}
		}
	}()
	for {
		switch line := w.next(); {
		case strings.HasPrefix(line, "WINDOW_UPDATE"):
		case strings.HasPrefix(line, "HEADERS") && strings.Contains(line, "grpc-status=8"):
			return
		default:
			t.Fatal(line)
		}
	}
}

// TestDrain checks that the first GOAWAY excludes no stream, and that the second, after the
// client has seen the first, names the last stream.
func TestDrain(t *testing.T) {
	s := start(t, h2.Options{})
	w := s.wire()
	w.open(1)
	w.say(1, []byte("one"))
	w.expect(begins, dataOf)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.GracefulStop()
	}()
	w.expect("GOAWAY 2147483647 NO_ERROR", "PING false leaving")
	w.open(3)
	w.say(3, []byte("one"))
	w.expect("HEADERS 3…", "DATA 3 10")
	w.ok(w.WritePing(true, [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g'}))
	w.expect("GOAWAY 3 NO_ERROR")
	w.open(5)
	w.expect("RST_STREAM 5 REFUSED_STREAM")
	w.say(1, []byte("one"))
	w.expect(dataOf)
	w.ok(w.WriteData(1, true, nil))
	w.ok(w.WriteData(3, true, nil))
	w.expect("HEADERS 1 grpc-status=0 END", "HEADERS 3 grpc-status=0 END", "closed")
	wait(t, stopped)
}

// TestHeaderTable checks that headers may refer to earlier ones until the client has
// acknowledged a table of size zero.
func TestHeaderTable(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		s := start(t, h2.Options{})
		w := s.wire()
		w.stubborn = stubborn
		w.open(1)
		w.open(3) // the same, by reference
		w.say(3, []byte("one"))
		w.expect("HEADERS 3…", "DATA 3 10")
		w.open(5)
		if stubborn {
			w.expect("GOAWAY 3 COMPRESSION_ERROR")
			continue
		}
		w.say(5, []byte("one"))
		w.expect("HEADERS 5…", "DATA 5 10")
	}
}
