package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTryWatch: what is tried is tried again within a second of each change of a file that it is
// made of, and else not.
func TestTryWatch(t *testing.T) {
	dir := t.TempDir()
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
