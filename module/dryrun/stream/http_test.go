package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wasmxds/module/dryrun/abi"
)

// played is a module whose callbacks are scripted.
type played struct {
	http    *HTTP
	answers map[string]func(h *HTTP) uint32 // by callback
	after   []func()
	replied bool
	failed  bool
	called  []string
}

func (p *played) Create()         {}
func (p *played) Failed() bool    { return p.failed }
func (p *played) Stopped() bool   { return p.replied }
func (p *played) Did(what string) { p.called[len(p.called)-1] += " " + what }

func (p *played) After() {
	p.replied = false
	for len(p.after) > 0 {
		do := p.after[0]
		p.after = p.after[1:]
		do()
	}
}

func (p *played) Call(name string, args ...uint32) (uint32, bool) {
	name = strings.TrimPrefix(name, "proxy_on_")
	answer := p.answers[name]
	if answer == nil {
		return 0, false
	}
	p.called = append(p.called, strings.TrimSuffix(fmt.Sprintln(append([]any{name}, anys(args)...)...), "\n"))
	return answer(p.http), true
}

func anys(args []uint32) []any {
	var out []any
	for _, a := range args {
		out = append(out, a)
	}
	return out
}

func (p *played) reply(code uint32, body string, headers ...[2]string) uint32 {
	p.replied = true
	p.after = append(p.after, func() { p.http.Reply(code, body, headers, ^uint32(0), "by the filter") })
	return 0
}

func (p *played) resume(side abi.Side) {
	p.after = append(p.after, func() { p.http.Continue(side) })
	p.http.Forget()
}

func is(status uint32) func(*HTTP) uint32 { return func(*HTTP) uint32 { return status } }

func TestHTTP(t *testing.T) {
	post := Message{Headers: [][2]string{{"Host", "a"}, {"X-One", "1"}}, Body: [][]byte{[]byte("ab"), []byte("cd")}}
	var p *played
	for _, test := range []struct {
		name    string
		stream  Stream
		answers map[string]func(*HTTP) uint32
		then    func() // when nothing comes any more
		called  []string
		want    string // request | response
	}{
		{name: "nothing is called", want: "GET /| 200|"},
		{
			name: "headers", stream: Stream{Request: Message{Headers: [][2]string{{"host", "a"}}}},
			answers: map[string]func(*HTTP) uint32{"request_headers": func(h *HTTP) uint32 {
				h.Map(abi.RequestHeaders).Set("x-a", "1")
				return 0
			}, "response_headers": is(0), "log": is(0), "done": is(1), "delete": is(0)},
			called: []string{"request_headers 8 1 continue", "response_headers 3 1 continue", "log", "done", "delete"},
			want:   "GET / x-a=1| 200|",
		},
		{
			name: "body in HTTP/1.1", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_body": is(0)},
			called:  []string{"request_body 2 0 continue", "request_body 2 0 continue", "request_body 0 1 continue"},
			want:    "POST / x-one=1 ab cd| 200|",
		},
		{
			name: "body in HTTP/2", stream: Stream{Request: post, Protocol: HTTP2},
			answers: map[string]func(*HTTP) uint32{"request_body": is(0)},
			called:  []string{"request_body 2 0 continue", "request_body 2 1 continue"},
			want:    "POST / x-one=1 ab cd| 200|",
		},
		{
			name: "body is buffered and changed", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_body": func(h *HTTP) uint32 {
				if !h.endOfStream {
					return dataStopBuffer
				}
				h.Body(abi.RequestBody).Set(0, 0, []byte("["))
				h.Body(abi.RequestBody).Set(100, 0, []byte("]"))
				return 0
			}},
			called: []string{"request_body 2 0 pause, buffer", "request_body 4 0 pause, buffer", "request_body 4 1 continue"},
			want:   "POST / x-one=1 [abcd]| 200|",
		},
		{
			name: "body is dropped", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_body": func(h *HTTP) uint32 {
				if h.endOfStream {
					return 0
				}
				return dataStopNoBuffer
			}},
			called: []string{"request_body 2 0 pause, drop", "request_body 2 0 pause, drop", "request_body 0 1 continue"},
			want:   "POST / x-one=1| 200|",
		},
		{
			name: "headers are held up for good", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_headers": is(1), "request_body": is(0), "log": is(0)},
			called:  []string{"request_headers 9 0 pause", "log"},
			want:    "||paused request headers",
		},
		{
			name: "headers are held up, and then all comes", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_headers": is(1), "request_body": is(0)},
			then:    func() { p.resume(abi.Request); p.After() },
			called:  []string{"request_headers 9 0 pause", "request_body 4 1 continue"},
			want:    "POST / x-one=1 abcd| 200|",
		},
		{
			name: "a body that is paused is continued", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_body": is(1)},
			then:    func() { p.resume(abi.Request); p.After() },
			called:  []string{"request_body 2 0 pause, buffer", "request_body 4 0 pause, buffer", "request_body 4 1 pause, buffer"},
			want:    "POST / x-one=1 abcd| 200|",
		},
		{
			name: "trailers", stream: Stream{
				Request:  Message{Body: post.Body, Trailers: [][2]string{{"X-T", "1"}}},
				Response: Message{Body: post.Body, Trailers: [][2]string{{"X-T", "2"}}},
			},
			answers: map[string]func(*HTTP) uint32{"request_trailers": func(h *HTTP) uint32 {
				h.Map(abi.RequestTrailers).Add("x-more", "1")
				return 0
			}, "request_body": is(1), "response_trailers": is(0)},
			called: []string{"request_body 2 0 pause, buffer", "request_body 4 0 pause, buffer", "request_trailers 1 continue", "response_trailers 1 continue"},
			want:   "POST / abcd x-t=1 x-more=1| 200 ab cd x-t=2|",
		},
		{
			name: "trailers are added", stream: Stream{Request: post, Protocol: HTTP2},
			answers: map[string]func(*HTTP) uint32{"request_body": func(h *HTTP) uint32 {
				if h.endOfStream {
					h.Map(abi.RequestTrailers).Add("x-more", "1")
				}
				return 0
			}},
			called: []string{"request_body 2 0 continue", "request_body 2 1 continue"},
			want:   "POST / x-one=1 ab cd x-more=1| 200|",
		},
		{
			name: "local reply", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{
				"request_headers":  func(*HTTP) uint32 { return p.reply(403, "no", [2]string{"X-Why", "w"}) },
				"response_headers": is(0), "response_body": is(0), "log": is(0),
			},
			called: []string{"request_headers 9 0 pause", "response_headers 4 0 continue", "response_body 2 1 continue", "log"},
			want:   "| 403 x-why=w no|by_the_filter",
		},
		{
			name: "local reply to the response", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{
				"response_headers": func(*HTTP) uint32 { return p.reply(500, "") }, "response_body": is(0),
			},
			called: []string{"response_headers 3 1 pause"},
			want:   "POST / x-one=1 ab cd| 500|by_the_filter",
		},
		{
			name: "local reply when the response has begun", stream: Stream{Response: post},
			answers: map[string]func(*HTTP) uint32{
				"response_body": func(*HTTP) uint32 { return p.reply(500, "") },
			},
			called: []string{"response_body 2 0 pause, drop"},
			want:   "GET /| 200 host=a x-one=1|reset by_the_filter",
		},
		{
			name: "a trap", stream: Stream{Request: post},
			answers: map[string]func(*HTTP) uint32{"request_body": func(*HTTP) uint32 { p.failed = true; return 0 }, "log": is(0)},
			called:  []string{"request_body 2 0"},
			want:    "POST / x-one=1| 503|wasm_fail_stream",
		},
		{
			name: "more than is buffered", stream: Stream{Request: Message{Body: [][]byte{make([]byte, 1<<20), []byte("b")}}},
			answers: map[string]func(*HTTP) uint32{"request_body": is(1)},
			called:  []string{"request_body 1048576 0 pause, buffer", "request_body 1048577 0 pause, buffer"},
			want:    "POST /| 413 Payload Too Large|request_payload_too_large",
		},
		{
			name: "no method any more",
			answers: map[string]func(*HTTP) uint32{"request_headers": func(h *HTTP) uint32 {
				h.Map(abi.RequestHeaders).Remove(":method")
				return 0
			}},
			called: []string{"request_headers 8 1 continue"},
			want:   "| 503 missing required header: :method|filter_removed_required_request_headers{missing_required_header:_:method}",
		},
		{
			name: "a large body in HTTP/2", stream: Stream{Request: Message{Body: [][]byte{make([]byte, 20000)}}, Protocol: HTTP2},
			answers: map[string]func(*HTTP) uint32{"request_body": func(h *HTTP) uint32 {
				h.Body(abi.RequestBody).Set(0, 1<<20, nil)
				return 0
			}},
			called: []string{"request_body 16384 0 continue", "request_body 3616 1 continue"},
			want:   "POST /| 200|",
		},
		{
			name: "cookies come together in HTTP/2", stream: Stream{Request: Message{Headers: [][2]string{{"cookie", "a"}, {"cookie", "b"}}}, Protocol: HTTP2},
			want: "GET / cookie=a; b| 200|",
		},
		{
			name: "a response is continued that is not there", answers: map[string]func(*HTTP) uint32{"request_headers": func(*HTTP) uint32 {
				p.resume(abi.Response)
				return 0
			}},
			called: []string{"request_headers 8 1 continue"},
			want:   "GET /||reset crash",
		},
		{
			name: "replies twice", answers: map[string]func(*HTTP) uint32{"request_headers": func(*HTTP) uint32 {
				p.reply(403, "one")
				p.after = append(p.after, func() { p.http.Reply(404, "two", nil, ^uint32(0), "the last") })
				return 0
			}},
			called: []string{"request_headers 8 1 pause"},
			want:   "| 403 one|the_last",
		},
		{
			name: "a gRPC client", stream: Stream{Request: Message{Headers: [][2]string{{"content-type", "application/grpc"}}}},
			answers: map[string]func(*HTTP) uint32{"request_headers": func(*HTTP) uint32 { return p.reply(403, "no, 100%") }},
			called:  []string{"request_headers 9 1 pause"},
			want:    "| 200 grpc-status=7 grpc-message=no, 100%25|by_the_filter",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p = &played{answers: test.answers}
			p.http = NewHTTP(p, test.stream, Options{})
			for p.http.Step() {
			}
			if test.then != nil {
				test.then()
				for p.http.Step() {
				}
			}
			r := p.http.Result()
			p.http.GiveUp()
			if !slices.Equal(p.called, test.called) {
				t.Errorf("called %q,\nwant %q", p.called, test.called)
			}
			if got := written(r); got != test.want {
				t.Errorf("got %q,\nwant %q", got, test.want)
			}
		})
	}
}

// written is a result in a line, without what every message has.
func written(r Result) string {
	of := func(m *Message, first ...string) string {
		if m == nil {
			return ""
		}
		words, skip := make([]string, len(first)), append([]string{":authority", ":scheme", "content-length", "content-type", "transfer-encoding",
			"x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address", "x-request-id", "x-envoy-upstream-service-time"}, first...)
		for _, f := range m.Headers {
			if i := slices.Index(first, f[0]); i >= 0 {
				words[i] = f[1]
			} else if !slices.Contains(skip, f[0]) {
				words = append(words, f[0]+"="+f[1])
			}
		}
		for _, b := range m.Body {
			words = append(words, string(b))
		}
		for _, f := range m.Trailers {
			words = append(words, f[0]+"="+f[1])
		}
		return strings.Join(words, " ")
	}
	response := of(r.Response, ":status")
	if response != "" {
		response = " " + response
	}
	end := ""
	switch {
	case r.Reset != "":
		end = "reset " + r.Reset
	case r.Paused != "":
		end = "paused " + r.Paused
	case r.LocalReply != nil:
		end = r.LocalReply.Details
	}
	return of(r.Request, ":method", ":path") + "|" + response + "|" + end
}
