package e2e

import (
	"fmt"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestSparesUsedUp: a filter for which no spare slot is left replaces its
// listener. The status says of which connections it does not hold, and until
// when; status --wait=drained comes back when it does; and then there are spares
// again.
func TestSparesUsedUp(t *testing.T) {
	const drain = 5 * time.Second // longer than the answers
	atOnce(t, func(t *testing.T, c combination) {
		f := newKeptFleet(t, c, []string{"--drain-time-s", "5", "--drain-strategy", "immediate"}, []string{"--drain-time", drain.String()}, nil)
		k := keep(t, f, keptConnections())
		chain := k.history[0].chain
		add := func(change, name string) *set {
			chain = append([]string{name}, chain...)
			k.change(set{change: change, chain: chain, upstream: k.history[0].upstream}, nil)
			return &k.history[len(k.history)-1]
		}
		for _, name := range []string{"s", "t", "u", "v"} { // as many as there are spares, before the filters and behind them
			add(added, name)
		}
		replaced := add(crowded, "w")
		f.checkDraining(replaced, drain)
		_, err := f.server.Run(t.Context(), "status", "--admin", "http://"+f.server.Addresses.Admin, "--wait=drained", "--timeout", "30s")
		must(t, err)
		replaced.drained = time.Now()
		if took := replaced.drained.Sub(replaced.written); took < drain || took > drain+3*time.Second {
			t.Errorf("all was drained after %v, it says", took)
		}
		add(added, "x")
		add(added, "y")
		all := k.stop()
		t.Log(all)
		for _, l := range k.loads {
			for i, o := range l.Opened() {
				if before := o.Opened.Before(replaced.written); before == o.Closed.IsZero() {
					t.Errorf("connection %d, opened before the listener was replaced: %v, closed %v", i, before, o.Closed)
				}
			}
		}
		all[crowded].closed = 0
		report.addScene(t, all.counts())
		if all.bad() > 0 {
			t.Error("want nothing failed, without its filters but where that was said, or in a wrong order; and no other connection closed")
		}
	})
}

// checkDraining looks for what the status says of connections that a filter,
// the first of a set, does not hold for.
func (k *keptFleet) checkDraining(s *set, drain time.Duration) {
	k.t.Helper()
	status, err := k.server.Status(k.t.Context())
	must(k.t, err)
	at, err := status.Filter(k.at.id, s.chain[0])
	must(k.t, err)
	check := func(what string, d *harness.Draining) {
		k.t.Helper()
		if d == nil {
			k.t.Errorf("%s is not drained yet, and the status does not say so", what)
			return
		}
		if d.Since.Before(s.written) || d.Since.After(s.runs) || d.Until.Sub(d.Since).Round(time.Second) != drain {
			k.t.Errorf("%s: written %v, ran %v, since %v, until %v", what, s.written, s.runs, d.Since, d.Until)
		}
	}
	check(fmt.Sprintf("filter %s", s.chain[0]), at.Draining)
	for _, l := range status.Nodes[0].Listeners {
		check("listener "+l.Name, l.Draining)
	}
}
