package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestCrashReplaced: a VM that traps, under load, is soon replaced, whatever its
// onFailure, and without a fetch or another listener. Nothing fails but what meets
// the crashed VM.
func TestCrashReplaced(t *testing.T) {
	var took []time.Duration
	eachOnce(t, func(t *testing.T, c combination) {
		for _, policy := range []string{"closed", "open", "reload"} {
			t.Run(policy, func(t *testing.T) { took = append(took, crashReplaced(t, c, policy)) })
		}
	})
	if len(took) == 0 {
		return // none was asked for
	}
	median := harness.Quantile(took, 0.5)
	t.Logf("from trap to replaced: p50 %v, max %v", median, harness.Quantile(took, 1))
	if median > 5*time.Second { // 0.07 s where there is nothing else to do
		t.Errorf("it takes %v at the median", median)
	}
}

// crashReplaced gives how long the first crash lasted.
func crashReplaced(t *testing.T, c combination, policy string) time.Duration {
	f := newFleet(t)
	f.write("web.yaml", f.listener("web"))
	f.write("other.yaml", filter("other", f.module(wasmtest.Filter{Header: "x-other", Value: "1"})))
	f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{
		Header: "x-hello", Value: "1", Fault: wasmtest.TrapOnRequest}), "onFailure: "+policy))
	f.serve()
	bootstrap, err := f.server.Bootstrap(f.ctx, "edge-1", "--protocol", c.protocol)
	must(t, err)
	e := f.envoyOf("edge-1", harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap, Workers: 2})
	address := e.address("web")
	f.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
	e.runs("hello")
	_, fetched, err := e.Answers(t.Context(), modulesCluster)
	must(t, err)
	listeners, err := e.Stats(t.Context(), `^listener_manager\.(lds\.update_success|listener_modified)$`)
	must(t, err)

	l := e.load("web", "x-hello", "x-other")
	var first time.Duration
	for i := 1; i <= 3; i++ {
		before, start := l.Counts(), time.Now()
		if got := outcome(t, address, http.Header{wasmtest.TrapHeader: {"1"}}); got != "503" {
			t.Fatalf("the request that traps: %s", got)
		}
		var at harness.FilterStatus
		f.eventually(func() error {
			status, err := f.server.Status(t.Context())
			if err != nil {
				return err
			}
			if at, err = status.Filter("edge-1", "hello"); err == nil && (at.Crashes == nil || at.Crashes.Count != i || at.State != "running" || at.Crashes.Replaced.Before(start)) {
				err = fmt.Errorf("crash %d is not replaced: %+v %+v", i, at, at.Crashes)
			}
			return err
		})
		lasted := at.Crashes.Replaced.Sub(start)
		if i == 1 {
			first = lasted
		}
		// Alarms of one crash that come late are not another.
		f.eventually(func() error { return after(l.LastSeen("x-hello", "1"), at.Crashes.Replaced.Add(400*time.Millisecond)) })
		mid := l.Counts()
		f.eventually(func() error {
			if n := l.Counts().Requests - mid.Requests; n < 50 {
				return fmt.Errorf("%d requests since", n)
			}
			return nil
		})
		after := l.Counts()
		if after.Bad() != mid.Bad() {
			t.Errorf("crash %d: requests go on failing, or passing unfiltered: %v, then %v", i, mid, after)
		}
		t.Logf("crash %d: replaced after %v; of %d requests %d failed, %d were unfiltered", i, lasted,
			after.Requests-before.Requests, after.Failed-before.Failed, after.Unfiltered-before.Unfiltered)
	}
	counts := l.Stop()
	if policy != "open" && counts.Unfiltered > 0 || counts.Refused > 0 {
		t.Errorf("%v", counts)
	}
	if _, again, err := e.Answers(t.Context(), modulesCluster); err != nil || again != fetched {
		t.Errorf("%d modules were fetched again, %v", again-fetched, err)
	}
	again, err := e.Stats(t.Context(), `^listener_manager\.(lds\.update_success|listener_modified)$`)
	must(t, err)
	for name, n := range again {
		if n != listeners[name] {
			t.Errorf("%s: %d, was %d: a listener was sent", name, n, listeners[name])
		}
	}
	text, err := f.server.Get(t.Context(), "/metrics")
	must(t, err)
	for _, want := range []string{`wasmxds_vm_crashes_total{filter="hello"} 3`, "wasmxds_vm_replacements_total 3"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}
	return first
}

// TestCrashGoesBack: a version that traps at each request gives way to the one
// before, on its own, and that to a newer one.
func TestCrashGoesBack(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		set := func(m wasmtest.Filter) time.Time {
			m.Header = "x-hello"
			return f.write("hello.yaml", filter("hello", f.module(m)))
		}
		set(wasmtest.Filter{Value: "good"})
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "good")
		good := e.runs("hello").Running
		before := l.Counts()
		start := set(wasmtest.Filter{Value: "bad", Fault: wasmtest.TrapAt, At: 1})
		at := e.state("hello", "failed")
		if at.Running != good || at.Wanted == good || at.Crashes == nil || at.Crashes.Count < 3 || !at.Crashes.WentBack {
			t.Errorf("it did not go back: %+v %+v", at, at.Crashes)
		}
		back := time.Now()
		f.eventually(func() error { return after(l.LastSeen("x-hello", "good"), back.Add(300*time.Millisecond)) })
		mid := l.Counts()
		t.Logf("back after %v: of %d requests %d failed, %d were unfiltered; %d crashes", back.Sub(start),
			mid.Requests-before.Requests, mid.Failed-before.Failed, mid.Unfiltered-before.Unfiltered, at.Crashes.Count)
		start = set(wasmtest.Filter{Value: "mended"})
		f.seen(l, start, "x-hello", "mended")
		if at := e.runs("hello"); at.Crashes != nil {
			t.Errorf("the mended one: %+v", at.Crashes)
		}
		end := l.Stop()
		if end.Bad() != mid.Bad() || end.Unfiltered > 0 {
			t.Errorf("%v, then %v", mid, end)
		}
	})
}
