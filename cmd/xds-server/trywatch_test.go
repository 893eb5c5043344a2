package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// TestTryWatch: what is tried is tried again within a second of each change of a file that it is
// made of, and else not.
func TestTryWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b") // a name, not a pattern
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("hello.yaml", "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\n")
	put("hello.wasm", "1")
	put("with.wasm", "1")
	ctx, cancel := context.WithCancel(t.Context())
	runs, ended := make(chan time.Time, 100), make(chan error)
	f := tryFlags{with: filepath.Join(dir, "with.wasm")}
	go func() {
		ended <- f.watching(ctx, []string{filepath.Join(dir, "hello.yaml")}, func() { runs <- time.Now() })
	}()
	<-runs
	for i, name := range []string{"hello.yaml", "hello.wasm", "with.wasm", "hello.conf"} {
		changed := time.Now()
		put(name, "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\norder: "+string(rune('1'+i))+"\n")
		select {
		case at := <-runs:
			if took := at.Sub(changed); took > 5*time.Second { // the machine may be busy
				t.Errorf("%s: tried again after %v", name, took)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: not tried again", name)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(runs); n != 0 {
		t.Errorf("tried %d times more than there were changes", n)
	}
}

// TestTryWatchErrors: while files are watched, what is wrong is told as it is without
// --watch, with its hint, and nothing beside an expectation that is not met.
func TestTryWatchErrors(t *testing.T) {
	dir := t.TempDir()
	definition, tests := filepath.Join(dir, "hello.yaml"), filepath.Join(dir, "tests.yaml")
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(dir, "hello.wasm"), wasmtest.Filter{Header: "x-test", Value: "two"}.Module())
	put(tests, []byte("kind: FilterTest\nfilter: hello\ncases:\n- {name: one, expect: {request: {headers: {x-test: one}}}}\n"))
	put(definition, []byte("kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\n"))
	ctx, cancel := context.WithCancel(t.Context())
	var out written
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"try", definition, tests, "--watch"}, nil, &out, io.Discard) }()
	shows := func(text string) {
		t.Helper()
		if err := poll(time.Minute, func() error {
			if !strings.Contains(out.String(), text) {
				return fmt.Errorf("no %q in\n%s", text, out.String())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	shows("0 of 1 case pass\n")
	put(definition, []byte("kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\nordr: 1\n"))
	shows("hello.yaml:4: ordr: unknown field\nhint: did you mean order?\n")
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := out.String(); strings.Contains(text, "exit 1") || strings.Count(text, "error: ") != 1 {
		t.Errorf("told\n%s", text)
	}
}
