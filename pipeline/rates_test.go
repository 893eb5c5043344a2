package pipeline

import (
	"testing"
	"time"

	"wasmxds/signal"
)

// TestRecordedRates: an Envoy that is recorded tells of all requests, is judged by no more than
// before, and goes back to that.
func TestRecordedRates(t *testing.T) {
	told := map[string]uint32{}
	r := newRates(func(node string, perMillion uint32) { told[node] = perMillion })
	samples := make([]signal.Sample, 10_000)
	if got := r.judge("a", 150_000); got != 100_000 || told["a"] != 100_000 {
		t.Errorf("judged at %d, told %d", got, told["a"])
	}
	if n := len(r.fair("a", samples)); n != len(samples) {
		t.Errorf("%d of its own samples", n)
	}
	r.record("a", true)
	if told["a"] != allRequests {
		t.Errorf("recorded at %d", told["a"])
	}
	if n := len(r.fair("a", samples)); n < 500 || n > 2000 { // 1000, by far more than ten deviations
		t.Errorf("judged by %d of %d samples", n, len(samples))
	}
	if got := r.judge("a", 300_000); got != 300_000 || told["a"] != allRequests || r.judging("a") != 300_000 {
		t.Errorf("judged at %d while it is recorded, told %d", got, told["a"])
	}
	r.record("a", false)
	if told["a"] != 300_000 {
		t.Errorf("after it was recorded: %d", told["a"])
	}
	r.record("b", true)
	if n := len(r.fair("b", samples)); n != 0 {
		t.Errorf("judged by %d samples, though nobody judges it", n)
	}
	r.record("b", false)
	r.judge("a", 0)
	if told["a"] != 0 || told["b"] != 0 || len(r.judged)+len(r.all) != 0 {
		t.Errorf("in the end: told %v, kept %v %v", told, r.judged, r.all)
	}
}

// TestRatesDontWait checks that samples of all Envoys are taken while one is told a rate,
// which steps its streams.
func TestRatesDontWait(t *testing.T) {
	stepping, stepped := make(chan struct{}), make(chan struct{})
	r := newRates(func(string, uint32) { stepping <- struct{}{}; <-stepped })
	for name, do := range map[string]func(){"judge": func() { r.judge("b", 1e6) }, "record": func() { r.record("a", true) }} {
		done, taken := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); do() }()
		<-stepping
		go func() { defer close(taken); r.fair("b", nil); r.judging("b") }()
		select {
		case <-taken:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: samples wait for a stream", name)
		}
		stepped <- struct{}{}
		<-done
		<-taken
	}
}
