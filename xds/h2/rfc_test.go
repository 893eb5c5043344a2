package h2_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"wasmxds/xds/h2"
)

// answered is the answer to a request without messages.
const answered = begins + " grpc-status=0 END"

// with returns the usual request with some fields replaced.
func with(fields ...string) []string {
	out := slices.Clone(usual)
	for i := 0; i < len(fields); i += 2 {
		if at := slices.Index(out, fields[i]); at >= 0 {
			out[at+1] = fields[i+1]
		} else {
			out = append(out, fields[i], fields[i+1])
		}
	}
	return out
}

// without returns the usual request without one field.
func without(name string) []string {
	at := slices.Index(usual, name)
	return slices.Delete(slices.Clone(usual), at, at+2)
}

func (w *wire) raw(t http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) {
	w.ok(w.WriteRawFrame(t, flags, stream, payload))
}

func (w *wire) set(id http2.SettingID, value uint32) {
	w.ok(w.WriteSettings(http2.Setting{ID: id, Val: value}))
}

// part sends a request's first headers, without END_HEADERS.
func (w *wire) part(id uint32) {
	w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.headers(usual...)}))
}

// TestRFC checks what a client may and may not do, by section of RFC 9113 (HTTP/2) and RFC
// 7541 (HPACK). Each case says whether it runs before the first request or after it.
func TestRFC(t *testing.T) {
	ping := [8]byte{'h', 'e', 'l', 'l', 'o', '!', '!'}
	goAway := func(last, code string) []string { return []string{"GOAWAY " + last + " " + code, "closed"} }
	malformed := []string{"RST_STREAM 1 PROTOCOL_ERROR"}
	for _, test := range []struct {
		section, name string
		do            func(w *wire)
		want          []string
	}{
		{"3.4", "no SETTINGS first", func(w *wire) { w.ok(w.WritePing(false, ping)) }, goAway("0", "PROTOCOL_ERROR")},
		{"4.1", "unknown type", func(w *wire) { w.raw(0xee, 0xff, 0); w.request(1, true, usual...) }, []string{answered}},
		{"4.1", "unknown flags", func(w *wire) { w.raw(http2.FramePing, 0xfe, 0, ping[:]...); w.request(1, true, usual...) },
			[]string{"PING true hello!!", answered}},
		{"4.1", "reserved bit", func(w *wire) { w.raw(http2.FramePing, 0, 1<<31, ping[:]...) }, []string{"PING true hello!!"}},
		{"4.2", "largest DATA", func(w *wire) {
			w.open(1)
			b := append([]byte{0, 0, 0, 64, 0}, make([]byte, 16<<10)...)
			w.ok(w.WriteData(1, false, b[:16<<10]))
			w.ok(w.WriteData(1, true, b[16<<10:]))
		}, []string{"HEADERS 1 :status=200…"}},
		{"4.2", "DATA too large", func(w *wire) { w.open(1); w.ok(w.WriteData(1, true, make([]byte, 16<<10+1))) }, goAway("1", "FRAME_SIZE_ERROR")},
		{"4.2", "HEADERS too large", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, make([]byte, 16<<10+1)...) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"4.3", "headers that end nowhere", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, 0x40) }, goAway("0", "COMPRESSION_ERROR")},
		{"4.3", "PRIORITY in headers", func(w *wire) { w.part(1); w.raw(http2.FramePriority, 0, 1, 0, 0, 0, 0, 1) }, goAway("0", "PROTOCOL_ERROR")},
		{"4.3", "headers of another stream in headers", func(w *wire) { w.part(1); w.open(3) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.1", "idle: DATA", func(w *wire) { w.say(1, nil) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.1", "idle: RST_STREAM", func(w *wire) { w.ok(w.WriteRSTStream(1, http2.ErrCodeCancel)) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.1", "idle: WINDOW_UPDATE", func(w *wire) { w.ok(w.WriteWindowUpdate(1, 1)) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.1", "idle: PRIORITY", func(w *wire) {
			w.ok(w.WritePriority(1, http2.PriorityParam{StreamDep: 3}))
			w.request(1, true, usual...)
		}, []string{answered}},
		{"5.1", "ended: DATA", func(w *wire) { w.request(1, true, usual...); w.say(1, nil) }, []string{answered, "RST_STREAM 1 STREAM_CLOSED"}},
		{"5.1", "ended: HEADERS", func(w *wire) { w.request(1, true, usual...); w.request(1, true, usual...) },
			[]string{answered, "RST_STREAM 1 STREAM_CLOSED"}},
		{"5.1", "ended: what may come late", func(w *wire) {
			w.request(1, true, usual...)
			w.ok(w.WriteWindowUpdate(1, 1))
			w.ok(w.WriteRSTStream(1, http2.ErrCodeCancel))
			w.ok(w.WritePriority(1, http2.PriorityParam{StreamDep: 3}))
			w.ok(w.WritePing(false, ping))
		}, []string{answered, "PING true hello!!"}},
		{"5.1", "reset: DATA", func(w *wire) { w.open(1); w.ok(w.WriteRSTStream(1, http2.ErrCodeCancel)); w.say(1, nil) },
			[]string{"RST_STREAM 1 STREAM_CLOSED"}},
		{"5.1", "reset: HEADERS", func(w *wire) { w.open(1); w.ok(w.WriteRSTStream(1, http2.ErrCodeCancel)); w.open(1) },
			[]string{"RST_STREAM 1 STREAM_CLOSED"}},
		{"5.1.1", "even stream", func(w *wire) { w.open(2) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.1.1", "smaller stream", func(w *wire) { w.open(5); w.open(3) }, goAway("5", "PROTOCOL_ERROR")},
		{"5.3.1", "HEADERS that depend on themselves", func(w *wire) {
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.headers(usual...), EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1}}))
		}, goAway("0", "PROTOCOL_ERROR")},
		{"5.3.1", "PRIORITY that depends on itself", func(w *wire) { w.ok(w.WritePriority(3, http2.PriorityParam{StreamDep: 3})) }, goAway("0", "PROTOCOL_ERROR")},
		{"5.5", "unknown type in headers", func(w *wire) { w.part(1); w.raw(0xee, 0, 0) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.1", "DATA of the connection", func(w *wire) { w.say(0, nil) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.1", "DATA with more padding than it is long", func(w *wire) { w.open(1); w.raw(http2.FrameData, http2.FlagDataPadded, 1, 6, 'a', 'b') }, goAway("1", "PROTOCOL_ERROR")},
		{"6.1", "DATA with padding", func(w *wire) {
			w.open(1)
			w.raw(http2.FrameData, http2.FlagDataPadded, 1, append(append([]byte{3}, message([]byte("one"))...), 0, 0, 0)...)
		}, []string{begins, dataOf}},
		{"6.2", "HEADERS of the connection", func(w *wire) { w.open(0) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.2", "HEADERS with more padding than they are long", func(w *wire) { w.raw(http2.FrameHeaders, http2.FlagHeadersPadded|5, 1, 9, 'a') }, goAway("0", "PROTOCOL_ERROR")},
		{"6.3", "PRIORITY of the connection", func(w *wire) { w.raw(http2.FramePriority, 0, 0, 0, 0, 0, 0, 1) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.4", "RST_STREAM of the connection", func(w *wire) { w.raw(http2.FrameRSTStream, 0, 0, 0, 0, 0, 8) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.4", "RST_STREAM of 3 bytes", func(w *wire) { w.open(1); w.raw(http2.FrameRSTStream, 0, 1, 0, 0, 0) }, goAway("1", "FRAME_SIZE_ERROR")},
		{"6.5", "SETTINGS of a stream", func(w *wire) { w.raw(http2.FrameSettings, 0, 1) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.5", "SETTINGS of 3 bytes", func(w *wire) { w.raw(http2.FrameSettings, 0, 0, 0, 3, 0) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"6.5", "SETTINGS acknowledged with more", func(w *wire) { w.raw(http2.FrameSettings, http2.FlagSettingsAck, 0, 0, 3, 0, 0, 0, 1) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"6.5.2", "ENABLE_PUSH 2", func(w *wire) { w.set(http2.SettingEnablePush, 2) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.5.2", "INITIAL_WINDOW_SIZE too large", func(w *wire) { w.set(http2.SettingInitialWindowSize, 1<<31) }, goAway("0", "FLOW_CONTROL_ERROR")},
		{"6.5.2", "MAX_FRAME_SIZE too small", func(w *wire) { w.set(http2.SettingMaxFrameSize, 1<<14-1) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.5.2", "MAX_FRAME_SIZE too large", func(w *wire) { w.set(http2.SettingMaxFrameSize, 1<<24) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.5.2", "unknown setting", func(w *wire) { w.set(0xee, 1); w.request(1, true, usual...) }, []string{answered}},
		{"6.6", "PUSH_PROMISE", func(w *wire) {
			w.ok(w.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, goAway("0", "PROTOCOL_ERROR")},
		{"6.7", "PING before a request", func(w *wire) { w.ok(w.WritePing(false, ping)) }, []string{"PING true hello!!"}},
		{"6.7", "PING that answers nothing", func(w *wire) { w.ok(w.WritePing(true, ping)); w.request(1, true, usual...) }, []string{answered}},
		{"6.7", "PING of a stream", func(w *wire) { w.raw(http2.FramePing, 0, 1, ping[:]...) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.7", "PING of 6 bytes", func(w *wire) { w.raw(http2.FramePing, 0, 0, ping[:6]...) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"6.8", "GOAWAY of a stream", func(w *wire) { w.raw(http2.FrameGoAway, 0, 1, make([]byte, 8)...) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.8", "GOAWAY", func(w *wire) { w.ok(w.WriteGoAway(0, http2.ErrCodeNo, nil)); w.ok(w.WritePing(false, ping)) }, []string{"PING true hello!!"}},
		{"6.9", "WINDOW_UPDATE by nothing", func(w *wire) { w.ok(w.WriteWindowUpdate(0, 0)) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.9", "stream's WINDOW_UPDATE by nothing", func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(1, 0)) }, malformed},
		{"6.9", "idle stream's WINDOW_UPDATE by nothing", func(w *wire) { w.ok(w.WriteWindowUpdate(1, 0)) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.9", "WINDOW_UPDATE of 3 bytes", func(w *wire) { w.raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 1) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"6.9.1", "connection's window too large", func(w *wire) { w.ok(w.WriteWindowUpdate(0, 1<<31-1)) }, goAway("0", "FLOW_CONTROL_ERROR")},
		{"6.9.1", "stream's window too large", func(w *wire) { w.open(1); w.ok(w.WriteWindowUpdate(1, 1<<31-1)) }, []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}},
		{"6.9.2", "window of before the first request", func(w *wire) {
			w.set(http2.SettingInitialWindowSize, 3)
			w.open(1)
			w.say(1, []byte("one"))
		}, []string{begins, "DATA 1 3"}},
		{"6.9.2", "window below 0", func(w *wire) {
			w.set(http2.SettingInitialWindowSize, 3)
			w.open(1)
			w.say(1, []byte("one"))
			w.expect(begins, "DATA 1 3")
			w.set(http2.SettingInitialWindowSize, 2)
			w.ok(w.WriteWindowUpdate(1, 2))
		}, []string{"DATA 1 1"}},
		{"6.10", "CONTINUATION of nothing", func(w *wire) { w.ok(w.WriteContinuation(1, true, nil)) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.10", "CONTINUATION of another stream", func(w *wire) { w.part(1); w.ok(w.WriteContinuation(3, true, nil)) }, goAway("0", "PROTOCOL_ERROR")},
		{"6.10", "CONTINUATION", func(w *wire) {
			block := w.headers(usual...)
			w.ok(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: block[:9]}))
			w.ok(w.WriteContinuation(1, false, block[9:12]))
			w.ok(w.WriteContinuation(1, true, block[12:]))
		}, []string{answered}},
		{"8.1", "trailers that do not end", func(w *wire) { w.open(1); w.open(1) }, malformed},
		{"8.1.1", "longer than content-length", func(w *wire) { w.request(1, false, with("content-length", "1")...); w.say(1, nil) }, malformed},
		{"8.1.1", "shorter than content-length", func(w *wire) {
			w.request(1, false, with("content-length", "11")...)
			w.ok(w.WriteData(1, true, message([]byte("one"))))
		}, malformed},
		{"8.1.1", "as long as content-length", func(w *wire) {
			w.request(1, false, with("content-length", "10")...)
			w.ok(w.WriteData(1, true, message([]byte("one"))))
		}, []string{begins, dataOf, "HEADERS 1 grpc-status=0 END"}},
		{"8.1.1", "content-length of nothing", func(w *wire) { w.request(1, true, with("content-length", "1")...) }, malformed},
		{"8.1.1", "trailers before content-length", func(w *wire) {
			w.request(1, false, with("content-length", "1")...)
			w.request(1, true, "x-end", "1")
		}, malformed},
		{"8.1.1", "content-length that is no number", func(w *wire) { w.request(1, false, with("content-length", "-1")...) }, malformed},
		{"8.2.1", "name in capitals", func(w *wire) { w.request(1, true, with("X-Test", "1")...) }, malformed},
		{"8.2.2", "connection", func(w *wire) { w.request(1, true, with("connection", "keep-alive")...) }, malformed},
		{"8.2.2", "te that is not trailers", func(w *wire) { w.request(1, true, with("te", "trailers, deflate")...) }, malformed},
		{"8.3", "unknown pseudo-header", func(w *wire) { w.request(1, true, append([]string{":test", "1"}, usual...)...) }, malformed},
		{"8.3", "pseudo-header of a response", func(w *wire) { w.request(1, true, append([]string{":status", "200"}, usual...)...) }, malformed},
		{"8.3", "pseudo-header behind others", func(w *wire) { w.request(1, true, append(without(":path"), ":path", echoPath)...) }, malformed},
		{"8.3", "pseudo-header in trailers", func(w *wire) { w.open(1); w.request(1, true, ":method", "POST") }, malformed},
		{"8.3.1", "no :method", func(w *wire) { w.request(1, true, without(":method")...) }, malformed},
		{"8.3.1", "no :scheme", func(w *wire) { w.request(1, true, without(":scheme")...) }, malformed},
		{"8.3.1", "no :path", func(w *wire) { w.request(1, true, without(":path")...) }, malformed},
		{"8.3.1", "empty :path", func(w *wire) { w.request(1, true, with(":path", "")...) }, malformed},
		{"8.3.1", ":path twice", func(w *wire) { w.request(1, true, append([]string{":path", "/a"}, usual...)...) }, malformed},
		{"7541 2.3.3", "index of nothing", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, 0xff, 0) }, goAway("0", "COMPRESSION_ERROR")},
		{"7541 4.2", "table size at the end", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, append(w.headers(usual...), 0x20)...) }, goAway("0", "COMPRESSION_ERROR")},
		{"7541 5.2", "Huffman code with EOS", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, 0, 0x84, 0xff, 0xff, 0xff, 0xff, 0) }, goAway("0", "COMPRESSION_ERROR")},
		{"7541 6.1", "index 0", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, 0x80) }, goAway("0", "COMPRESSION_ERROR")},
		{"7541 6.3", "table larger than SETTINGS allow", func(w *wire) { w.raw(http2.FrameHeaders, 5, 1, 0x3f, 0xe2, 0x1f) }, goAway("0", "COMPRESSION_ERROR")},
	} {
		t.Run(strings.ReplaceAll(test.section+" "+test.name, "/", ""), func(t *testing.T) {
			t.Parallel()
			var w *wire
			if s := start(t, h2.Options{}); test.section == "3.4" {
				w = s.bare()
				w.must(io.WriteString(w.conn, http2.ClientPreface))
			} else {
				w = s.wire()
			}
			test.do(w)
			want, closed := test.want, test.want[len(test.want)-1] == "closed"
			if closed {
				want = want[:len(want)-1]
			}
			w.expect(want...)
			if closed { // after the client has read why, and has stopped sending
				w.ok(w.conn.(*net.TCPConn).CloseWrite())
				w.expect("closed")
			}
		})
	}
}

// TestHandedIsAnsweredOnce checks that a grpc.Server that takes over a connection, and
// reads all of it, doesn't repeat answers that were sent before.
func TestHandedIsAnsweredOnce(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		l := h2.NewRest(&net.TCPAddr{})
		g := grpc.NewServer(grpc.Creds(h2.Credentials{}))
		healthpb.RegisterHealthServer(g, health.NewServer())
		served := make(chan error, 1)
		go func() { served <- g.Serve(l) }()
		t.Cleanup(func() {
			g.Stop()
			if err := wait(t, served); err != nil {
				t.Error(err)
			}
		})
		o.Other = l.Take
		s := start(t, o)
		w := s.bare()
		if creds != nil {
			secure, _, err := creds.ClientHandshake(t.Context(), s.address, w.conn)
			if err != nil {
				t.Fatal(err)
			}
			w.conn, w.Framer = secure, http2.NewFramer(secure, secure)
			w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		}
		w.must(io.WriteString(w.conn, http2.ClientPreface))
		w.set(http2.SettingInitialWindowSize, 1000)
		w.set(http2.SettingEnablePush, 0)
		w.ok(w.WritePing(false, [8]byte{'e', 'a', 'r', 'l', 'y'}))
		if got := w.acks(2); got != "" {
			t.Errorf("before the acknowledgements comes %s", got)
		}
		w.expect("PING true early\x00\x00")
		w.request(1, false, with(":path", "/grpc.health.v1.Health/Check")...)
		w.ok(w.WriteData(1, true, make([]byte, 5)))
		w.set(http2.SettingMaxFrameSize, 1<<15)
		w.ok(w.WritePing(false, [8]byte{'l', 'a', 't', 'e'}))
		acks, data, pings := 0, false, ""
		for !data || acks == 0 || pings == "" {
			f, err := w.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if f.IsAck() {
					acks++
				}
			case *http2.PingFrame:
				if f.IsAck() {
					pings += string(f.Data[:])
				} else {
					w.ok(w.WritePing(true, f.Data))
				}
			case *http2.DataFrame:
				data = true
			}
		}
		if acks != 1 || pings != "late\x00\x00\x00\x00" {
			t.Errorf("%d acknowledgements of one SETTINGS, and PINGs %q", acks, pings)
		}
	})
}

// TestSettingsAreAcknowledged checks that settings are acknowledged immediately, before
// there is a request (RFC 9113, 6.5.3).
func TestSettingsAreAcknowledged(t *testing.T) {
	w := start(t, h2.Options{}).wire()
	if got := w.acks(1); got != "" {
		t.Errorf("before the acknowledgement comes %s", got)
	}
}

// acks reads n acknowledgements of SETTINGS, and returns what else arrived.
func (w *wire) acks(n int) (others string) {
	w.t.Helper()
	for n > 0 {
		f, err := w.ReadFrame()
		if err != nil {
			w.t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); !ok {
			others += f.Header().Type.String()
		} else if s.IsAck() {
			n--
		}
	}
	return others
}
