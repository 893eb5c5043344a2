package driver_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestStartTogether checks that servers that start at the same time, with an empty state,
// give their Envoys everything within seconds, whichever leads, however late each one
// reads its definitions, and however slow writes are.
func TestStartTogether(t *testing.T) {
	pick := func(r *rand.Rand, from ...time.Duration) time.Duration { return from[r.IntN(len(from))] }
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 0))
				g := newGroup(t)
				write := pick(r, 0, time.Millisecond, 50*time.Millisecond, 500*time.Millisecond, 1500*time.Millisecond)
				g.shared.delay(write)
				began := time.Now()
				a := g.begin("A")
				time.Sleep(pick(r, 0, time.Millisecond, 60*time.Millisecond, 300*time.Millisecond, 3*time.Second))
				b := g.begin("B")
				members := []*member{a, b}
				reads := []time.Duration{pick(r, 0, 10*time.Millisecond, 400*time.Millisecond, 3*time.Second, 5*time.Second), pick(r, 0, 10*time.Millisecond, 400*time.Millisecond, 3*time.Second, 5*time.Second)}
				for i, m := range members {
					time.AfterFunc(reads[i], func() { m.Tell(both()) })
				}
				deposed := r.IntN(3) == 0
				if deposed {
					time.AfterFunc(pick(r, 0, 30*time.Millisecond, 500*time.Millisecond, 2*time.Second), func() {
						if l := g.shared.leads(); l != nil {
							g.shared.depose(l)
							l.once.Do(func() { close(l.done) })
						}
					})
				}
				for a.filters() != 2 || b.filters() != 2 {
					if time.Since(began) > 20*time.Second {
						t.Fatalf("after %v they give %d and %d filters: a write takes %v, they read after %v, one was deposed: %v, A %s, B %s",
							time.Since(began), a.filters(), b.filters(), write, reads, deposed, a.Standing().Stand, b.Standing().Stand)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if a.lacked(2) || b.lacked(2) {
					t.Error("one gave its Envoys less")
				}
				g.shared.delay(0)
				a.end()
				b.end()
			})
		})
	}
}
