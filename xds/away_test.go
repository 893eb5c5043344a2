package xds_test

import (
	"os"
	"testing"
	"time"

	"wasmxds/state/statetest"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestAway checks that the successor of a killed server knows which Envoys were connected,
// and doesn't count those as gone that are not back yet.
func TestAway(t *testing.T) {
	transports(t, func(t *testing.T) {
		dir, killed := t.TempDir(), t.TempDir()
		process := statetest.Start(t, dir)
		first := start(t, xds.Options{State: process.Writer})
		first.publish(t, hello1)
		a := first.up(t, "a", false)
		first.up(t, "b", true)
		eventually(t, "both written down", func() bool {
			return len(process.Written(t, "nodes/")) == 2
		})
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil { // the state after kill -9
			t.Fatal(err)
		}
		first.end()
		a.leave()

		c := newClock()
		c.advance(24 * time.Hour) // the servers' outage does not count
		next := start(t, xds.Options{State: statetest.Start(t, killed).Writer, Now: c.Now})
		next.publish(t, hello2)
		counts := func(what string, want xds.NodeCount, hello int) {
			t.Helper()
			eventually(t, what, func() bool {
				all, filters := next.Summary()
				return all == want && filters["hello"].Away == hello
			})
		}
		counts("two awaited", xds.NodeCount{Away: 2, Awaited: 2}, 2)
		for _, id := range []string{"a", "b"} {
			n, ok := next.node(id)
			if !ok || n.AwaySince.IsZero() || !n.Awaited || len(n.Filters) != 2 || n.Filters[0].State != swap.Away || n.Filters[0].Running != "" {
				t.Errorf("%s: %+v", id, n)
			}
		}
		a.has(moduleOf("hello", "v2"))
		a.connect(next.dial(t, ""))
		next.settled(t, "a")
		counts("one awaited", xds.NodeCount{Connected: 1, Away: 1, Awaited: 1}, 1)
		c.advance(2*time.Minute + time.Second)
		counts("it does not come back", xds.NodeCount{Connected: 1, Away: 1}, 0)
		c.advance(time.Hour)
		counts("it is forgotten", xds.NodeCount{Connected: 1}, 0)
		a.leave()
		counts("the other is away", xds.NodeCount{Away: 1, Awaited: 1}, 1)
	})
}
