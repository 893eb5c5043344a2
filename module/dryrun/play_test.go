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
		"traps, and all else passes":     {filter: trap, policy: definition.Open, want: "1  200,   200 crashed,   200;"},
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

// A hostile module ends its stream, or its process, and nothing else.
func TestPlayHostile(t *testing.T) {
	r := newRunner(t, Options{Time: time.Second})
	for name, test := range map[string]struct {
		fault wasmtest.Fault
		want  string
	}{
		"loops": {wasmtest.SpinAt, "proxy_on_request_headers: it took more than 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			m := r.assemble(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: test.fault, At: 1})
			var played Played
			var err error
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				if played, err = r.Play(t.Context(), Play{Filter: &definition.Filter{}, Module: m, Streams: []stream.Stream{get(), get()}}); err == nil {
					break
				}
			}
			if err != nil || len(played.Streams) != 1 || !strings.Contains(played.Streams[0].Crash, test.want) || played.Stopped == "" {
				t.Fatalf("got %+v, %v", played, err)
			}
			if err := r.tried(t, r.modules["nomalloc"]); err == nil {
				t.Error("the next one is not tried")
			}
		})
	}
}

// The filters of this repository, where they have been built.
func TestPlayFilters(t *testing.T) {
	path := filepath.Join("..", "..", "bin", "filters", "header.wasm")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skip("not built: make filters")
	}
	r := newRunner(t, Options{})
	r.add(t, "header", path)
	played, err := r.Play(t.Context(), Play{
		Filter: &definition.Filter{Name: "a"}, Module: r.modules["header"], Streams: []stream.Stream{get()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := played.Streams[0]; value(s.Request, "x-my-custom-header") != "hello world" || !s.Complete {
		t.Errorf("got %+v", played)
	}
}
