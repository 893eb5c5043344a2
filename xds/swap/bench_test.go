package swap_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// BenchmarkSwap is the protocol's part in a change of one of twenty filters, or
// of all, for one Envoy among many in the same state: publish, the twin's ACK,
// the slot's ACK.
func BenchmarkSwap(b *testing.B) {
	for _, change := range []int{1, 20} {
		for _, delta := range []bool{false, true} {
			b.Run(fmt.Sprintf("change=%d/delta=%t", change, delta), func(b *testing.B) { benchSwap(b, change, delta) })
		}
	}
}

func benchSwap(b *testing.B, change int, delta bool) {
	const machines = 1000
	w := newWorld()
	wanted := func(round int) string {
		var s strings.Builder
		s.WriteString("listener web")
		for i := range 20 {
			fmt.Fprintf(&s, " f%d", i)
		}
		for i := range 20 {
			v := 0
			if i < change {
				v = round
			}
			fmt.Fprintf(&s, "\nfilter f%d v%d module=m%d", i, v, i)
		}
		return s.String()
	}
	snaps := []*resource.Snapshot{w.define(b, wanted(0)), w.define(b, wanted(1))}
	space := swap.NewInterner()
	now := time.Unix(0, 0)
	type envoy struct {
		m *swap.Machine
		e *model
	}
	all := make([]envoy, machines)
	exchange := func(x envoy, sends []swap.Send) {
		x.e.inbox = append(x.e.inbox, sends...)
		for len(x.e.inbox)+len(x.e.outbox) > 0 {
			for len(x.e.inbox) > 0 {
				x.e.receive()
			}
			for len(x.e.outbox) > 0 {
				r := x.e.outbox[0]
				x.e.outbox = x.e.outbox[1:]
				x.e.inbox = append(x.e.inbox, x.m.Step(now, r).Sends...)
			}
		}
	}
	for i := range all {
		e := newModel(delta, rand.New(rand.NewPCG(1, 1)), func(string) bool { return false })
		for sha := range w.modules {
			e.cache[sha] = &modelCode{here: true}
		}
		e.connect()
		all[i] = envoy{swap.New(swap.Options{Interner: space, Snapshot: snaps[0], Delta: delta}), e}
		exchange(all[i], nil)
		if e.broken != "" {
			b.Fatal(e.broken)
		}
	}
	names := slices.Concat(snaps[0].Primer.Slots, snaps[0].Listeners[0].Slots)
	b.ReportAllocs()
	b.ResetTimer()
	sent := 0
	for n := range b.N {
		x := all[n%machines]
		round := (n/machines + 1) % 2
		sends := x.m.Step(now, swap.Publish{Snapshot: snaps[round]}).Sends
		for len(sends) > 0 {
			s := sends[0]
			sent++
			_ = s.Body()
			r := swap.Request{Type: s.Type, Nonce: swap.FormatNonce(s.Nonce)}
			if !delta {
				r.Names = names
			}
			sends = x.m.Step(now, r).Sends
		}
	}
	b.ReportMetric(float64(sent)/float64(b.N), "responses/op")
}
