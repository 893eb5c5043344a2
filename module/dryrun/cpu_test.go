package dryrun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
)

// TestCPUTimeIsLimited checks that a process ends when it has used up its CPU time, although
// there would be much more time.
func TestCPUTimeIsLimited(t *testing.T) {
	r := newRunner(t, Options{Time: time.Minute})
	info := r.assemble(t, wasmtest.Filter{Fault: wasmtest.SpinInConfigure})
	p, err := r.pool.take(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	_, err = p.try(limited, request{Inputs: r.inputs(&definition.Filter{}, info.SHA256), CPU: time.Second, Compile: true},
		func() (io.ReadCloser, int64, error) {
			f, info, err := r.options.Store.Open(info.SHA256)
			return f, info.Size, err
		})
	end, died := errors.AsType[*died](err)
	if !died || end.state.ExitCode() != exitCPU {
		t.Fatalf("got %v", err)
	}
	if used := end.used(); used > 10*time.Second {
		t.Errorf("it used %v of CPU time", used)
	}
	err = r.sentence(tried{in: r.inputs(&definition.Filter{}, info.SHA256)}, end)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("of CPU time are not enough")) {
		t.Errorf("got %v", err)
	}
}
