package envoy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/try"
	"wasmxds/try/envoy"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "trial" {
		os.Exit(dryrun.Sandbox(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}

// both are the host here and an Envoy.
type both struct {
	store *module.Store
	host  *dryrun.Runner
	envoy *envoy.Player
}

// eachEnvoy runs a test on the newest Envoy, and some on the oldest, too.
func eachEnvoy(t *testing.T, test func(t *testing.T, b both)) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := harness.Envoys(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range all {
		t.Run(binary.Version, func(t *testing.T) {
			store, err := module.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			r := dryrun.New(t.Context(), dryrun.Options{Store: store, Command: []string{program, "trial"}})
			defer r.Close()
			found, err := envoy.Find(t.Context(), binary.Path)
			if err != nil || found.Version != binary.Version {
				t.Fatalf("found %v, %v", found, err)
			}
			test(t, both{store, r, &envoy.Player{Binary: found, Modules: store, Start: 2 * time.Minute}})
		})
	}
}

func (b both) put(t *testing.T, content []byte) module.Info {
	t.Helper()
	info, err := b.store.Put(bytes.NewReader(content), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// play plays requests on the host and on the Envoy.
func (b both) play(t *testing.T, f *definition.Filter, m module.Info, requests ...definition.TestStream) (here, there []try.Outcome) {
	t.Helper()
	trial := try.Trial{Player: b.host, Filter: f, Module: m}
	here, err := trial.Together(t.Context(), requests...)
	if err != nil {
		t.Fatal(err)
	}
	trial.Player, trial.Envoy = b.envoy, b.envoy.Binary.Version
	if there, err = trial.Together(t.Context(), requests...); err != nil {
		t.Fatal(err)
	}
	return here, there
}

func filter(config string) *definition.Filter {
	f := &definition.Filter{Name: "tried", RootID: "root", VMID: "vm"}
	if config != "" {
		f.Config, _ = anypb.New(wrapperspb.String(config))
	}
	return f
}

func built(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "bin", "filters", name+".wasm"))
	if err != nil {
		t.Fatalf("%v: run make filters", err)
	}
	return b
}

func get(path string, headers ...[2]string) definition.TestMessage {
	return definition.TestMessage{Headers: append([][2]string{{":method", "GET"}, {":path", path}, {":scheme", "http"}, {":authority", "shop.example"}}, headers...)}
}

func answer(status string, body ...string) definition.TestMessage {
	m := definition.TestMessage{Headers: [][2]string{{":status", status}, {"x-from", "upstream"}}}
	for _, piece := range body {
		m.Body = append(m.Body, []byte(piece))
	}
	return m
}

// TestSame: what comes of requests is the same on the host and on an Envoy.
func TestSame(t *testing.T) {
	eachEnvoy(t, func(t *testing.T, b both) {
		post := get("/cart?token=1", [2]string{"cookie", "a=b"})
		post.Headers[0][1] = "POST"
		post.Body = [][]byte{[]byte("first "), []byte("second")}
		trailers := get("/grpc")
		trailers.Trailers = [][2]string{{"x-end", "yes"}}
		head := get("/head")
		head.Headers[0][1] = "HEAD"
		expect := get("/expect", [2]string{"expect", "100-continue"})
		expect.Headers[0][1], expect.Body = "POST", [][]byte{[]byte("then")}
		overHTTP2 := map[string]any{"request.protocol": "HTTP/2"}
		for _, c := range []struct {
			name, config string
			module       []byte
			requests     []definition.TestStream
			want         string // in the outcome of the last one
		}{
			{"header", `{"header": "x-hello", "value": "hi", "response": true}`, built(t, "header"), []definition.TestStream{
				{Request: get("/"), Response: answer("200", "body")},
				{Request: post, Response: answer("201", "in ", "pieces")},
				{Request: trailers, Response: definition.TestMessage{Headers: [][2]string{{":status", "200"}}, Body: [][]byte{[]byte("x")}, Trailers: [][2]string{{"grpc-status", "0"}}}},
				{Request: head, Response: answer("200")},
				{Request: get("/", [2]string{"x-hello", "forged"}), Response: answer("204")},
			}, "x-hello: hi"},
			{"responses without a body", `{"header": "x-hello", "value": "hi", "response": true}`, built(t, "header"), []definition.TestStream{
				{Request: expect, Response: answer("200", "after 100")},
				{Request: expect, Response: answer("200", "after 100"), Properties: overHTTP2},
				{Request: get("/"), Response: answer("204", "none")},
				{Request: get("/"), Response: answer("204", "none"), Properties: overHTTP2},
				{Request: get("/"), Response: answer("304", "none")},
				{Request: head, Response: answer("200", "none")},
				{Request: get("/"), Response: answer("200", "still in step")},
			}, "x-hello: hi"},
			{"callout without a body", `{"cluster": "authz", "path": "/check"}`, built(t, "callout"), []definition.TestStream{
				{Request: get("/a"), Callouts: map[string]definition.TestCallout{"authz": {Status: 204, Body: []byte("none")}}},
				{Request: get("/b"), Callouts: map[string]definition.TestCallout{"authz": {Status: 304, Body: []byte("none")}}},
			}, "304"},
			{"callout", `{"cluster": "authz", "path": "/check", "forward": ["authorization"], "take": ["x-user"]}`, built(t, "callout"), []definition.TestStream{
				{Request: get("/a"), Callouts: map[string]definition.TestCallout{"authz": {Status: 200, Headers: [][2]string{{"x-user", "joe"}}}}},
				{Request: get("/b", [2]string{"authorization", "abc"}), Callouts: map[string]definition.TestCallout{"authz": {Status: 403, Body: []byte("no")}}},
			}, "403"},
			{"callout to nobody", `{"cluster": "authz"}`, built(t, "callout"), []definition.TestStream{
				{Request: get("/a"), Callouts: map[string]definition.TestCallout{"authz": {Fails: true}}},
			}, "503"},
			{"callout to no cluster", `{"cluster": "authz"}`, built(t, "callout"), []definition.TestStream{{Request: get("/a")}}, "503"},
			{"metrics", "", built(t, "metrics"), []definition.TestStream{{Request: get("/")}, {Request: get("/"), Response: answer("404")}}, "demo.responses.4xx: 1 (counter)"},
			{"denies", "", wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.DenyEvery, At: 2}.Module(), []definition.TestStream{{Request: get("/")}, {Request: get("/")}}, "403"},
			{"traps", "", wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.TrapOnRequest}.Module(), []definition.TestStream{
				{Request: get("/")}, {Request: get("/", [2]string{wasmtest.TrapHeader, "1"})}}, "crashed"},
		} {
			t.Run(c.name, func(t *testing.T) {
				here, there := b.play(t, filter(c.config), b.put(t, c.module), c.requests...)
				if len(here) != len(c.requests) || len(there) != len(c.requests) {
					t.Fatalf("%d requests gave %d outcomes, on Envoy %d", len(c.requests), len(here), len(there))
				}
				for i := range here {
					if diff := try.Differences(here[i], there[i]); diff != "" {
						t.Errorf("request %d differs:\n%s", i+1, diff)
					}
				}
				var told strings.Builder
				there[len(there)-1].Report(&told)
				if !strings.Contains(told.String(), c.want) {
					t.Errorf("on Envoy it came to\n%swant %q", told.String(), c.want)
				}
			})
		}
	})
}

// TestRefused: a module that does not start is refused with Envoy's words.
func TestRefused(t *testing.T) {
	eachEnvoy(t, func(t *testing.T, b both) {
		trial := try.Trial{Player: b.envoy, Filter: filter(""), Module: b.put(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.RejectConfigure}.Module())}
		_, err := trial.Together(t.Context(), definition.TestStream{Request: get("/")})
		if refused, ok := errors.AsType[*module.ContentError](err); !ok || !strings.Contains(refused.Message, "Unable to create Wasm") {
			t.Errorf("it says %v", err)
		}
	})
}

// TestSpins: a filter that does not return is told of, and its Envoy ends.
func TestSpins(t *testing.T) {
	eachEnvoy(t, func(t *testing.T, b both) {
		trial := try.Trial{Player: b.envoy, Filter: filter(""), Module: b.put(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.SpinAt, At: 1}.Module())}
		out, err := trial.Together(t.Context(), definition.TestStream{Request: get("/")}, definition.TestStream{Request: get("/")})
		if err != nil || len(out) != 1 || !strings.Contains(out[0].Stopped, "may not return") {
			t.Errorf("it came to %+v, %v", out, err)
		}
	})
}

// TestEnds: nothing is left of a play that is given up: no process, and no file.
func TestEnds(t *testing.T) {
	eachEnvoy(t, func(t *testing.T, b both) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		given := time.AfterFunc(50*time.Millisecond, cancel)
		defer given.Stop()
		trial := try.Trial{Player: b.envoy, Filter: filter(""), Module: b.put(t, wasmtest.Filter{}.Module())}
		if _, err := trial.Together(ctx, definition.TestStream{Request: get("/")}); !errors.Is(err, context.Canceled) {
			t.Errorf("it came to %v", err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if pids := running(t, dir); len(pids) > 0 {
			t.Errorf("processes run: %v", pids)
		}
	})
}

// running are the processes of which an argument has a text.
func running(t *testing.T, text string) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(text)) {
			pids = append(pids, filepath.Dir(name))
		}
	}
	return pids
}

// TestFind: an Envoy is looked for where people have it.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("ENVOY", "")
	t.Setenv("PATH", dir)
	fake := func(path, version string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\necho 'envoy  version: abc/%s/Clean/RELEASE/BoringSSL'\n", version)
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := func(path, version string) {
		t.Helper()
		found, err := envoy.Find(t.Context(), path)
		if err != nil || found.Version != version {
			t.Errorf("%q: found %v, %v; want %s", path, found, err, version)
		}
	}
	if _, err := envoy.Find(t.Context(), ""); !errors.Is(err, envoy.ErrNone) {
		t.Errorf("without any: %v", err)
	}
	fake("envoy", "1.1.0")
	want("", "1.1.0")
	fake(".tools/envoy-1.9.0/envoy", "1.9.0")
	fake(".tools/envoy-1.10.0/envoy", "1.10.0")
	want("", "1.10.0")
	fake("mine/envoy", "1.2.0")
	t.Setenv("ENVOY", "mine/envoy")
	want("", "1.2.0")
	want("./envoy", "1.1.0")
	if _, err := envoy.Find(t.Context(), "mine"); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}
