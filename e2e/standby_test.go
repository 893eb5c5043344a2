package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestBackAtOnce: a Go filter, whose VM takes seconds to start, is back within a
// second of the stop of a change that crashes under load: it stood by. When a change
// is done the VM of the version before is gone.
func TestBackAtOnce(t *testing.T) {
	module := filepath.Join(t.TempDir(), "header.wasm")
	t.Setenv("GOOS", "wasip1")
	t.Setenv("GOARCH", "wasm")
	build(t, "go", "-C", "filter", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", module, "./header")
	var took []time.Duration
	eachOnce(t, func(t *testing.T, c combination) { took = append(took, backAtOnce(t, c, module)) })
	if len(took) == 0 {
		return // none was asked for
	}
	median := harness.Quantile(took, 0.5)
	t.Logf("from stop to back: p50 %v, max %v", median, harness.Quantile(took, 1))
	if median > time.Second {
		t.Errorf("it takes %v at the median", median)
	}
}

// backAtOnce gives how long after the stop connections to all worker threads were
// answered as before, or a request failed.
func backAtOnce(t *testing.T, c combination, module string) time.Duration {
	f := newFleet(t)
	f.write("policy.yaml", "kind: Rollout\nname: careful\nwaves: [1]\nbake: 5s\nstop: "+atOnceAlone+"\n")
	f.write("web.yaml", f.listener("web"))
	f.write("hello.yaml", filter("hello", module, "config: {header: x-hello, value: good}"))
	f.serve("--module-root", filepath.Dir(module))
	edges, loads := map[string]*edge{}, map[string]*harness.Load{}
	for _, id := range []string{"edge-1", "edge-2"} {
		bootstrap, err := f.server.Bootstrap(f.ctx, id, "--protocol", c.protocol)
		must(t, err)
		e := f.envoyOf(id, harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap, Workers: 2})
		edges[id], loads[id] = e, e.load("web", "x-hello")
	}
	for id, l := range loads {
		f.seen(l, edges[id].Started, "x-hello", "good")
	}
	change := func(value string, fault wasmtest.Fault) (start time.Time) {
		return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value, Fault: fault, At: 100})))
	}
	until := func(start time.Time, is func(harness.Change) bool) (change harness.Change) {
		must(t, harness.Poll(t.Context(), 3*patience, func() (err error) {
			if change, err = f.server.Newest(t.Context(), "hello", start.Add(-time.Second)); err == nil && !is(change) {
				err = fmt.Errorf("%s: %s", change.State, change.Words)
			}
			return err
		}))
		return change
	}
	has := func(value string) (e *edge) {
		f.eventually(func() error {
			for id, l := range loads {
				if !l.LastSeen("x-hello", value).IsZero() {
					e = edges[id]
					return nil
				}
			}
			return fmt.Errorf("no Envoy has had %s", value)
		})
		return e
	}

	stopped := until(change("bad", wasmtest.TrapAt), func(c harness.Change) bool { return c.State == "stopped" })
	e := has("bad")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answered := 0
	f.eventually(func() error { // by both worker threads, if not for sure
		headers, err := harness.Request(t.Context(), client, "http://"+e.address("web")+"/", nil)
		if answered++; err != nil || headers.Get("x-hello") != "good" {
			answered = 0
		}
		if answered < 16 {
			return fmt.Errorf("answered %d times in a row: %v %v", answered, headers, err)
		}
		return nil
	})
	back := time.Since(stopped.Ended)
	e.runs("hello")
	back = max(back, loads[e.id].LastFailed().Sub(stopped.Ended))
	t.Logf("%s; back %v after the stop", stopped.Words, back)

	memory := func() string {
		size, err := e.Memory()
		must(t, err)
		return fmt.Sprintf("%d MiB", size>>20)
	}
	f.eventually(e.vms(1))
	before := memory()
	start := change("fine", wasmtest.None)
	until(start, func(c harness.Change) bool { return c.Settled > 0 })
	e = has("fine")
	f.eventually(e.vms(2))
	open := memory()
	until(start, func(c harness.Change) bool { return c.State == "done" })
	f.eventually(e.vms(1))
	t.Logf("memory of an Envoy: %s with the Go filter, %s while it stands by, %s when the change is done", before, open, memory())
	return back
}

// vms tells whether so many filters have VMs: each a first one, and one for each of
// the main and two worker threads.
func (e *edge) vms(filters int64) func() error {
	return func() error {
		n, err := e.VMs(e.f.t.Context())
		if err == nil && n != 4*filters {
			err = fmt.Errorf("there are %d VMs, want those of %d filters", n, filters)
		}
		return err
	}
}
