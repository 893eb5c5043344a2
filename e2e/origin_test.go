package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// webFleet is a fleet with a module on a web server.
type webFleet struct {
	*fleet
	origin *harness.Origin
	fetch  string // mirror or direct
}

func newWebFleet(t *testing.T, fetch string) *webFleet {
	t.Helper()
	w := &webFleet{fleet: newFleet(t), fetch: fetch}
	var err error
	w.origin, err = harness.StartOrigin()
	must(t, err)
	t.Cleanup(func() { must(t, w.origin.Close()) })
	w.write("web.yaml", w.listener("web"))
	return w
}

// hello publishes a module, with a fault, and writes its definition, pinned.
func (w *webFleet) hello(value string, fault harness.OriginFault, lines ...string) time.Time {
	w.t.Helper()
	module := wasmtest.Filter{Header: "x-hello", Value: value, Size: 20_000}.Module()
	w.origin.Fail(value+".wasm", fault)
	url := w.origin.Put(value+".wasm", module)
	return w.pinned(url, harness.SHA256(module), lines...)
}

func (w *webFleet) pinned(url, sha256 string, lines ...string) time.Time {
	w.t.Helper()
	return w.write("hello.yaml", fmt.Sprintf("kind: WasmFilter\nname: hello\nmodule: {url: %q, sha256: %s, fetch: %s}\n%s",
		url, sha256, w.fetch, joined(lines)))
}

// faults are what an origin can do wrong.
func faults() map[string]harness.OriginFault {
	return map[string]harness.OriginFault{
		"not found":   {Status: 404},
		"broken":      {Status: 500},
		"hanging up":  {Hangup: true},
		"truncating":  {Truncate: 1000},
		"HTML":        {Body: []byte("<!doctype html><title>Sign in</title>")},
		"other bytes": {Body: wasmtest.Filter{Header: "x-hello", Value: "wrong"}.Module()},
	}
}

// TestOriginFaults: while a module can't be had, what ran goes on, the status
// says why, and once the origin is mended the swap goes on by itself.
func TestOriginFaults(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "mirror")
		w.hello("0", harness.OriginFault{})
		w.serve()
		e := w.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		w.seen(l, e.Started, "x-hello", "0")
		for name, fault := range faults() {
			value := strings.ReplaceAll(name, " ", "-")
			w.hello(value, fault)
			reason := w.notHad("hello")
			w.origin.Fail(value+".wasm", harness.OriginFault{})
			took := w.seen(l, time.Now(), "x-hello", value)
			e.runs("hello")
			t.Logf("%s: %q; mended → seen: %v", name, reason, took.Round(time.Millisecond))
		}
		start := w.hello("slow", harness.OriginFault{Delay: time.Second})
		t.Logf("slow: %v", w.seen(l, start, "x-hello", "slow"))
		w.good(l)
		if !l.LastSeen("x-hello", "wrong").IsZero() {
			t.Error("a module ran that is not the pinned one")
		}
	})
}

// notHad waits until the status says why a filter's module is not had.
func (w *webFleet) notHad(name string) string {
	w.t.Helper()
	var reason string
	w.eventually(func() error {
		status, err := w.server.Status(w.t.Context())
		if err != nil {
			return err
		}
		for _, f := range status.Filters {
			if f.Name == name && f.Reason != "" {
				reason = f.Reason
				return nil
			}
		}
		return fmt.Errorf("no reason at filter %q: %+v", name, status.Filters)
	})
	return reason
}

// TestDirect: Envoy fetches from the origin itself. A fault there is Envoy's,
// which asks again only after ten seconds.
func TestDirect(t *testing.T) {
	w := newWebFleet(t, "direct")
	w.hello("0", harness.OriginFault{})
	w.serve()
	e := w.envoy(newest(), "edge-1")
	l := e.load("web", "x-hello")
	w.seen(l, e.Started, "x-hello", "0")
	start := w.hello("1", harness.OriginFault{Delay: 100 * time.Millisecond})
	t.Logf("fetched in 100 ms: swapped after %v", w.seen(l, start, "x-hello", "1"))
	w.hello("2", harness.OriginFault{Status: 404})
	w.eventually(func() error {
		status, err := w.server.Status(t.Context())
		if err != nil {
			return err
		}
		at, err := status.Filter("edge-1", "hello")
		if err != nil || at.Running != at.Wanted && at.Reason != "" && w.origin.Hits("2.wasm") > 0 {
			return err
		}
		return fmt.Errorf("no reason why the filter is not swapped: %+v", at)
	})
	w.origin.Fail("2.wasm", harness.OriginFault{})
	start = time.Now()
	must(t, harness.Poll(t.Context(), 40*time.Second, func() error {
		_, err := l.Seen("x-hello", "2")
		return err
	}))
	t.Logf("mended → seen: %v", time.Since(start))
	e.runs("hello")
	w.good(l)
}

// TestLastGood: the module's origin is gone for good and the definition
// broken; xds-server starts anew, an Envoy starts fresh: both go on with what
// was good last.
func TestLastGood(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "mirror")
		w.hello("good", harness.OriginFault{})
		w.serve()
		e := w.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		w.seen(l, e.Started, "x-hello", "good")
		must(t, w.origin.Close())
		w.write("hello.yaml", "kind: WasmFilter\nname: hello\nmodule: [not, a, module]\n")
		w.restartServer()
		w.eventually(func() error { // it knows Envoy again, and the error
			status, err := w.server.Status(t.Context())
			if err != nil {
				return err
			}
			if _, err = status.Filter("edge-1", "hello"); err == nil && len(status.Definitions.Errors) == 0 {
				err = fmt.Errorf("the broken file is not in the status")
			}
			return err
		})
		fresh := w.envoy(c, "edge-2")
		l2 := fresh.load("web", "x-hello")
		w.seen(l2, fresh.Started, "x-hello", "good")
		fresh.ready()
		w.good(l)
		w.good(l2)
	})
}
