package swap_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"wasmxds/xds/swap"
)

// TestDueIsPlanned checks that an event that by itself cannot lead to a response does not
// keep back one that is due: the Envoy fetches two modules, and the download of the second
// begins when the filter with the first is due again.
func TestDueIsPlanned(t *testing.T) {
	for _, delta := range []bool{false, true} {
		t.Run(fmt.Sprintf("delta=%t", delta), func(t *testing.T) {
			w := newWorld()
			snap := w.define(t, "listener web a b\nfilter a v0 module=ma\nfilter b v0 module=mb")
			m := swap.New(swap.Options{Interner: swap.NewInterner(), Snapshot: snap, Delta: delta})
			e := newModel(delta, rand.New(rand.NewPCG(1, 1)), func(string) bool { return false })
			now := time.Unix(0, 0)
			e.connect()
			for len(e.inbox)+len(e.outbox) > 0 {
				if len(e.inbox) > 0 {
					e.receive()
					continue
				}
				r := e.outbox[0]
				e.outbox = e.outbox[1:]
				e.inbox = append(e.inbox, m.Step(now, r).Sends...)
			}
			if len(e.fetches) != 2 {
				t.Fatalf("the Envoy fetches %v, want two modules", e.fetches)
			}
			began := swap.Download{SHA256: e.fetches[1], Progress: swap.DownloadStarted}
			due := m.Wake()
			if sends := m.Step(due.Add(-1), began).Sends; m.Due(due.Add(-1)) || len(sends) > 0 {
				t.Errorf("before it is due, %d responses", len(sends))
			}
			if sends := m.Step(due, began).Sends; len(sends) == 0 {
				t.Error("when it is due, no response")
			}
		})
	}
}
