package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestLoggerInWaves: a Rollout spreads access loggers. One that Envoy rejects is stopped
// in its first wave, with no listener replaced; a good one replaces that of the wave's
// Envoy, and no other.
func TestLoggerInWaves(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		policy := func(bake string) string { return "waves: [1]\nbake: " + bake + "\nstop: " + atOnceAlone + "\n" }
		r := roll(t, c, 3, shop, policy("0s"))
		logger := func(m wasmtest.Filter, lines ...string) time.Time {
			m.Header, m.Value = "x", m.Counts
			return r.write("logger.yaml", filter("logger", r.module(m), append(lines, "place: accessLog")...))
		}
		start := logger(wasmtest.Filter{Counts: "first"})
		for _, e := range r.edges {
			e.logs(start, "first")
			e.runs("logger")
		}
		r.write("policy.yaml", "kind: Rollout\nname: careful\n"+policy("1h"))
		versions := func() (all []string) {
			for _, e := range r.edges {
				all = append(all, (&routed{fleet: r.fleet, edge: e}).version())
			}
			return all
		}
		before := versions()

		start = logger(wasmtest.Filter{Counts: "refused", Fault: wasmtest.RejectConfigure}, "verify: abi")
		var change harness.Change
		r.eventually(func() (err error) {
			if change, err = r.server.Newest(t.Context(), "logger", start.Add(-time.Second)); err == nil && change.State != "stopped" {
				err = fmt.Errorf("not stopped: %s", change.Words)
			}
			return err
		})
		if change.Wave != 1 {
			t.Errorf("it was stopped in wave %d", change.Wave)
		}
		for i, e := range r.edges {
			e.runs("logger")
			if now := versions()[i]; now != before[i] {
				t.Errorf("%s: the listener was replaced: %q, before %q", e.id, now, before[i])
			}
		}

		logger(wasmtest.Filter{Counts: "second"})
		r.eventually(func() error {
			for _, e := range r.edges {
				if e.count("second") > 0 {
					return nil
				}
			}
			return errors.New("no Envoy has the good logger")
		})
		replaced := 0
		for i, now := range versions() {
			if now != before[i] {
				replaced++
			}
		}
		if replaced != 1 {
			t.Errorf("the listeners of %d Envoys were replaced in a wave of one", replaced)
		}
		for i, l := range r.loads {
			r.good(l)
			logged := r.edges[i].count("first") + r.edges[i].count("second")
			t.Logf("%s: %d requests, %d logged", r.edges[i].id, l.Counts().Requests, logged)
			if logged == 0 || r.edges[i].count("refused") > 0 {
				t.Errorf("%s has logged %d requests, and %d by what Envoy refuses", r.edges[i].id, logged, r.edges[i].count("refused"))
			}
		}
	})
}
