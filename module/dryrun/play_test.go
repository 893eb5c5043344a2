package dryrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/dryrun/stream"
)

func get(headers ...string) stream.Stream {
	s := stream.Stream{Request: stream.Message{Headers: [][2]string{{"host", "a"}}}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		s.Request.Headers = append(s.Request.Headers, [2]string{name, value})
	}
	return s
}

func value(m *stream.Message, name string) string {
	if m != nil {
		for _, h := range m.Headers {
			if h[0] == name {
				return h[1]
			}
		}
	}
	return ""
}

func TestPlay(t *testing.T) {
	r := newRunner(t, Options{})
	trap := wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.TrapOnRequest}
	for name, test := range map[string]struct {
		filter wasmtest.Filter
		policy definition.OnFailure
		want   string // of three requests, the second of which has the header that traps
	}{
		"headers":                        {filter: wasmtest.Filter{Header: "x-a", Value: "1", Response: true, Counts: "seen"}, want: "1 1 200, 1 1 200, 1 1 200; seen=3"},
		"replies":                        {filter: wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.DenyEvery, At: 2}, want: "1  200,   403, 1  200;"},
		"traps, and all else is refused": {filter: trap, want: "1  200,   503 crashed,   503;"},
		"traps, and all else passes":     {filter: trap, policy: definition.Open, want: "1  200,   503 crashed,   200;"},
		"traps, and is made again":       {filter: trap, policy: definition.Reload, want: "1  200,   503 crashed, 1  200;"},
	} {
		t.Run(name, func(t *testing.T) {
			played, err := r.Play(t.Context(), Play{
				Filter: &definition.Filter{Name: "a", OnFailure: test.policy}, Module: r.assemble(t, test.filter),
				Streams: []stream.Stream{get(), get(wasmtest.TrapHeader + "=1"), get()},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range played.Streams {
				line := value(s.Request, "x-a") + " " + value(s.Response, "x-a") + " " + value(s.Response, ":status")
				if s.Crash != "" {
					line += " crashed"
				}
				got = append(got, line)
			}
			metrics := ";"
			for _, m := range played.Metrics {
				metrics += fmt.Sprintf(" %s=%d", m.Name, m.Value)
			}
			if got := strings.Join(got, ", ") + metrics; got != test.want {
				t.Errorf("got  %s,\nwant %s", got, test.want)
			}
		})
	}
}

// What can't start is refused as it is without streams.
func TestPlayRefused(t *testing.T) {
	r := newRunner(t, Options{})
	for name, test := range map[string]struct {
		module module.Info
		err    string
	}{
		"configuration": {r.modules["filter"], "proxy_on_configure returned false"},
		"memory":        {r.modules["memory"], "only an Envoy can run it"},
	} {
		_, err := r.Play(t.Context(), Play{
			Filter: &definition.Filter{Config: pack(wrapperspb.String("false"))}, Module: test.module, Streams: []stream.Stream{get()},
		})
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, want %s", name, err, test.err)
		}
	}
}

// A hostile module ends its stream, or its process, and nothing else. On a busy
// machine its time may be up before it has made too much of anything.
func TestPlayHostile(t *testing.T) {
	r := newRunner(t, Options{Time: 250 * time.Millisecond})
	const slow = ": it took more than 250ms, which all streams may take together"
	for what, want := range map[string]string{
		"loops for ever":       slow,
		"logs":                 slow,
		"Logs much":            slow,
		"headers":              ": more than 10000 headers, or 4 MiB of them",
		"Header that is large": ": more than 10000 headers, or 4 MiB of them",
		"replaces a header":    ": what it made takes more than 16 MiB",
		"body":                 ": what it made takes more than 16 MiB",
		"calls":                ": more than 1000 calls to other services",
		"k continues":          ": more than 10000 times it replies, continues or closes in one callback",
		"sends replies":        ": what it made takes more than 16 MiB",
		"queues":               slow,
		"writes shared data":   slow,
		"defines metrics":      slow,
		"properties":           slow,
		"memory":               " trapped: unreachable",
		"Recursion":            " trapped: stack overflow",
		"nothing of that":      "",
	} {
		do := what[:1]
		if what == "loops for ever" {
			do = "i"
		}
		t.Run(what, func(t *testing.T) {
			s := get("x-do=" + do)
			s.Request.Body = [][]byte{[]byte("a")}
			var played Played
			var err error
			// On a busy machine it may have had no time.
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
				if played, err = r.Play(t.Context(), Play{Filter: &definition.Filter{}, Module: r.modules["hostile"], Compile: true, Streams: []stream.Stream{s}}); err == nil {
					break
				}
			}
			if err != nil || len(played.Streams) != 1 {
				t.Fatalf("got %+v, %v", played, err)
			}
			callback, reason := "proxy_on_request_headers", played.Streams[0].Crash
			if what == "body" {
				callback = "proxy_on_request_body"
			}
			if want == "" && reason != "" || want != "" && !strings.HasPrefix(reason, callback+want) && reason != callback+slow {
				t.Errorf("got %q, want %q", reason, want)
			}
			size := 0
			for _, l := range played.Streams[0].Logs {
				size += len(l.Text)
			}
			if size > 300<<10 {
				t.Errorf("%d bytes of logs", size)
			}
		})
	}
	if err := r.tried(t, r.modules["nomalloc"]); err == nil {
		t.Error("the next one is not tried")
	}
}

// The filters of this repository, where they have been built.
func built(t *testing.T, r *runner, name string) module.Info {
	t.Helper()
	path := filepath.Join("..", "..", "bin", "filters", name+".wasm")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is not built: run make filters", path)
	}
	r.add(t, name, path)
	return r.modules[name]
}

func TestPlayFilters(t *testing.T) {
	r := newRunner(t, Options{})
	played, err := r.Play(t.Context(), Play{
		Filter: &definition.Filter{Name: "a"}, Module: built(t, r, "header"), Streams: []stream.Stream{get()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := played.Streams[0]; value(s.Request, "x-my-custom-header") != "hello world" || !s.Complete {
		t.Errorf("got %+v", played)
	}
}

// A filter asks another service, and goes by what it says.
func TestPlayCallouts(t *testing.T) {
	r := newRunner(t, Options{})
	m := built(t, r, "callout")
	f := &definition.Filter{Config: text(`{"cluster": "authz", "path": "/check", "timeoutMs": 200, "forward": ["x-user"], "take": ["x-role"]}`)}
	for name, test := range map[string]struct {
		answers map[string]stream.Callout
		want    string // status, details, role, answer
	}{
		"allowed":         {map[string]stream.Callout{"authz": {Headers: [][2]string{{"X-Role", "admin"}}}}, "200  admin 200"},
		"refused":         {map[string]stream.Callout{"authz": {Status: 401}}, "403   401"},
		"down":            {map[string]stream.Callout{"authz": {Fails: true}}, "503   no connection"},
		"too slow":        {map[string]stream.Callout{"authz": {After: time.Minute}}, "503   timed out"},
		"broken off":      {map[string]stream.Callout{"authz": {BreaksOff: true}}, "503   broken off"},
		"another cluster": {map[string]stream.Callout{"other": {}}, "503   no such cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			s := get("x-user=me")
			s.Callouts = test.answers
			began := time.Now()
			played, err := r.Play(t.Context(), Play{Filter: f, Module: m, Streams: []stream.Stream{s}})
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); test.answers["authz"].After > took*2 && took > 30*time.Second {
				t.Errorf("it took %v: nothing is to be waited for", took)
			}
			got := played.Streams[0]
			details := ""
			if got.LocalReply != nil {
				details = got.LocalReply.Details
			}
			asked := "[[:method GET] [:path /check] [:authority authz] [:scheme http] [x-user me]]"
			if name == "another cluster" { // it isn't sent
				asked = "[[:method GET] [:path /check] [:authority authz] [x-user me]]"
			}
			if len(got.Calls) != 1 || fmt.Sprint(got.Calls[0].Headers) != asked {
				t.Errorf("calls: %+v", got.Calls)
			}
			if line := fmt.Sprintf("%s %s %s %s", value(got.Response, ":status"), details, value(got.Request, "x-role"), got.Calls[0].Answer); line != test.want {
				t.Errorf("got %q, want %q; %+v", line, test.want, got.Logs)
			}
		})
	}
}

// Connections go through network filters.
func TestPlayConnections(t *testing.T) {
	r := newRunner(t, Options{})
	pieces := func(s ...string) (out [][]byte) {
		for _, p := range s {
			out = append(out, []byte(p))
		}
		return out
	}
	through := func(f *definition.Filter, m module.Info, c stream.Connection) stream.Result {
		t.Helper()
		played, err := r.Play(t.Context(), Play{Filter: f, Module: m, Streams: []stream.Stream{{Connection: &c}}})
		if err != nil || len(played.Streams) != 1 {
			t.Fatalf("got %+v, %v", played, err)
		}
		return played.Streams[0]
	}
	got := through(&definition.Filter{}, r.assemble(t, wasmtest.Filter{Network: true, Value: "<"}), stream.Connection{
		Downstream: pieces("a", "b"), Upstream: pieces("c")})
	if want := "[<a <b] [c] downstream"; fmt.Sprintf("%s %s %s", got.Connection.Downstream, got.Connection.Upstream, got.Connection.Closes) != want {
		t.Errorf("got %+v, want %s", got.Connection, want)
	}
	m := built(t, r, "preface")
	f := &definition.Filter{Config: text(`{"require": ["SSH-"], "prepend": "> "}`)}
	for first, want := range map[string]string{"SSH-2.0": "[> SSH-2.0] downstream", "GET /": "[] filter"} {
		got := through(f, m, stream.Connection{Downstream: pieces(first)})
		if line := fmt.Sprintf("%s %s", got.Connection.Downstream, got.Connection.Closes); line != want {
			t.Errorf("%s: got %s, want %s; %+v", first, line, want, got)
		}
	}
}

// An access logger is called for nothing but the log, and sees both sides.
func TestPlayLogger(t *testing.T) {
	r := newRunner(t, Options{})
	m := r.assemble(t, wasmtest.Filter{Header: "x-a", Value: "1", Counts: "seen", Response: true})
	f := &definition.Filter{Place: definition.Place{At: definition.Logger}}
	played, err := r.Play(t.Context(), Play{Filter: f, Module: m, Streams: []stream.Stream{get(), get()}})
	if err != nil {
		t.Fatal(err)
	}
	s := played.Streams[1]
	if len(s.Callbacks) != 1 || s.Callbacks[0].Name != "proxy_on_log" || !s.Complete || value(s.Request, "x-a") != "" {
		t.Errorf("got %+v", s)
	}
	if len(played.Metrics) != 1 || played.Metrics[0].Value != 2 {
		t.Errorf("got %+v", played.Metrics)
	}
}

// A module that does not start again is not called again, but started once more.
func TestPlayRestartFails(t *testing.T) {
	var s sandbox
	r := request{Inputs: inputs{SHA256: "filter", Time: time.Minute, Memory: 16 << 20}, Play: &played{OnFailure: definition.Reload}}
	l, err := s.load(t.Context(), r, func() ([]byte, error) { return os.ReadFile("testdata/filter.wasm") })
	if err != nil {
		t.Fatal(err)
	}
	p := &player{loaded: l, play: r.Play, ctx: t.Context(), last: rootContext, left: maxMade}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { p.vm.close() }()
	p.vm.failed = errors.New("it trapped")
	p.trial.config = []byte("false")
	for range 2 {
		if out := p.one(playedStream{Stream: get()}); !strings.HasPrefix(out.Crash, "proxy_on_configure returned false") {
			t.Errorf("got %+v", out)
		}
	}
	p.trial.config = nil
	if out := p.one(playedStream{Stream: get()}); out.Crash != "" || out.Response == nil {
		t.Errorf("got %+v", out)
	}
}

// What a module asks for may have any length; what is told of it has not.
func TestMissingIsBounded(t *testing.T) {
	r := newRunner(t, Options{})
	name := wasmtest.Arg{Kind: wasmtest.Text, Text: strings.Repeat("\x01", 30_000)}
	b, err := wasmtest.Script{Callbacks: []wasmtest.ScriptCallback{{Name: "on_configure", Runs: [][]wasmtest.Step{{
		{Number: 1, Call: "resolve_shared_queue", Args: []wasmtest.Arg{name, {Kind: wasmtest.Text, Text: "q"}, {Kind: wasmtest.Out32}}},
		{Return: true, Value: 0},
	}}}}}.Module()
	if err != nil {
		t.Fatal(err)
	}
	info, err := r.options.Store.Put(strings.NewReader(string(b)), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.tried(t, info); err != nil {
		t.Error(err) // only an Envoy can tell
	}
}
