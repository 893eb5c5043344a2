package e2e

import (
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// keptCycles is how often a change of each kind is made.
func keptCycles() int {
	if report != nil {
		return *swaps
	}
	return 2
}

// TestKept: filters and routes come, change places and go. Each change holds on
// all connections that are open, at once, and none is closed for it.
func TestKept(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		k := keep(t, newKeptFleet(t, c, nil, nil, nil), keptConnections())
		for i := range keptCycles() {
			for _, s := range k.cycle(i) {
				k.change(s, nil)
			}
		}
		all := k.stop()
		t.Log(all)
		if all.bad() > 0 {
			t.Error("want nothing closed, failed, without its filters or in a wrong order")
		}
		if report == nil {
			return
		}
		report.addKept(bySpares, c, all)
		for kind, n := range all {
			if p50, most := harness.Quantile(n.took, 0.5), harness.Quantile(n.took, 1); p50 > 100*time.Millisecond || most > 500*time.Millisecond {
				t.Errorf("%s: on all connections after %v, %v at the most; want 100 ms and 500 ms", kind, p50, most)
			}
		}
	})
}
