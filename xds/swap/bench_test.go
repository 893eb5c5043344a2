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

// BenchmarkStart is the protocol's part in the start of one Envoy among many that
// start alike: it asks for its slots one by one, and downloads two modules for its
// twenty filters.
func BenchmarkStart(b *testing.B) {
	for _, delta := range []bool{false, true} {
		b.Run(fmt.Sprintf("delta=%t", delta), func(b *testing.B) {
			w := newWorld()
			snap := w.define(b, twenty(func(int) int { return 0 }, func(i int) int { return min(i, 1) }))
			space := swap.NewInterner()
			start := recordStart(b, snap, delta)
			const together = 100 // Envoys, each a step after the other
			b.ReportAllocs()
			for b.Loop() {
				machines := make([]*swap.Machine, together)
				for i := range machines {
					machines[i] = swap.New(swap.Options{Interner: space, Snapshot: snap, Delta: delta})
				}
				for _, e := range start {
					for _, m := range machines {
						for _, s := range m.Step(e.at, e.Event).Sends {
							_ = s.Body()
						}
						m.Awaited()
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/together, "ns/start")
			b.ReportMetric(float64(len(start)), "steps/start")
		})
	}
}

// timed is an event, and when it is.
type timed struct {
	swap.Event
	at time.Time
}

// recordStart gives all that happens while an Envoy starts.
func recordStart(b *testing.B, snap *resource.Snapshot, delta bool) []timed {
	var all []timed
	now := time.Unix(0, 0)
	m := swap.New(swap.Options{Interner: swap.NewInterner(), Snapshot: snap, Delta: delta})
	e := newModel(delta, rand.New(rand.NewPCG(1, 1)), func(string) bool { return false })
	wake := now
	var names [swap.Types][]string
	step := func(ev swap.Event) {
		all = append(all, timed{ev, now})
		ready := m.Step(now, ev)
		e.inbox, wake = append(e.inbox, ready.Sends...), ready.Wake
	}
	for _, c := range snap.Clusters {
		if c.Name == modulesCluster {
			e.moduleServer = c.Version
		}
	}
	e.connect()
	for !e.live || len(e.inbox)+len(e.outbox)+len(e.fetches) > 0 {
		switch {
		case len(e.outbox) > 0:
			r := e.outbox[0]
			e.outbox = e.outbox[1:]
			for _, one := range oneByOne(r, names[r.Type]) {
				step(one)
			}
			names[r.Type] = r.Names
		case len(e.inbox) > 0:
			e.receive()
		case len(e.fetches) > 0:
			for _, p := range []swap.Progress{swap.DownloadStarted, swap.DownloadDone} {
				step(swap.Download{SHA256: e.fetches[0], Progress: p, Size: 1000})
			}
			e.fetched(e.fetches[0], true)
			e.fetches = e.fetches[1:]
		case wake.IsZero() || e.broken != "":
			b.Fatal("the Envoy does not start: ", e.broken)
		default:
			now = wake
			step(swap.Tick{})
		}
	}
	return all
}

// oneByOne is a request for new names as Envoy makes it; in state of the world it
// repeats those that it had asked for before.
func oneByOne(r swap.Request, before []string) []swap.Request {
	var out []swap.Request
	add := func(subscribe, names []string) {
		out = append(out, swap.Request{Type: r.Type, Nonce: r.Nonce, Version: r.Version, Subscribe: subscribe, Names: names})
	}
	for i := range r.Subscribe {
		add(r.Subscribe[i:i+1], nil)
	}
	for _, name := range r.Names {
		if !slices.Contains(before, name) {
			before = append(slices.Clone(before), name)
			add(nil, before)
		}
	}
	if len(out) == 0 || r.Failed {
		return []swap.Request{r}
	}
	return out
}

// twenty are as many filters in one listener, each in a version and with a module.
func twenty(version, module func(i int) int) string {
	var s strings.Builder
	s.WriteString("listener web")
	for i := range 20 {
		fmt.Fprintf(&s, " f%d", i)
	}
	for i := range 20 {
		fmt.Fprintf(&s, "\nfilter f%d v%d module=m%d", i, version(i), module(i))
	}
	return s.String()
}

func benchSwap(b *testing.B, change int, delta bool) {
	const machines = 1000
	w := newWorld()
	wanted := func(round int) string {
		return twenty(func(i int) int {
			if i < change {
				return round
			}
			return 0
		}, func(i int) int { return i })
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
