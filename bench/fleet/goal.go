package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Goal is a revision that all Steady Envoys are to run.
type Goal struct {
	fleet    *Fleet
	revision int
	slots    []string
	start    time.Time

	left atomic.Int64
	done chan struct{} // closed when all have met it

	mu    sync.Mutex
	times []time.Duration
}

// Watch begins to look for a revision, or a later one, in slots of all Steady
// Envoys, each ready and all of it acknowledged. It replaces the goal before.
func (f *Fleet) Watch(revision int, slots ...string) *Goal {
	g := &Goal{fleet: f, revision: revision, slots: slots, start: time.Now(), done: make(chan struct{})}
	g.left.Store(int64(f.steady()))
	f.goal.Store(g)
	return g
}

func (f *Fleet) steady() int {
	n := 0
	for _, e := range f.envoys {
		if e.role == Steady {
			n++
		}
	}
	return n
}

// meets looks whether e has come to the fleet's goal, all it has to answer
// being on its way.
func (f *Fleet) meets(e *envoy) {
	g := f.goal.Load()
	if g == nil || e.met == g || e.role != Steady || !e.ready() {
		return
	}
	for _, name := range g.slots {
		if s := e.slots[name]; s == nil || s.active == nil || s.active.revision < g.revision {
			return
		}
	}
	e.met = g
	took := time.Since(g.start)
	g.mu.Lock()
	g.times = append(g.times, took)
	g.mu.Unlock()
	if g.left.Add(-1) == 0 {
		close(g.done)
	}
}

// Wait waits until all have met the goal, and gives how long each took since
// Watch, in order of time.
func (g *Goal) Wait(ctx context.Context) ([]time.Duration, error) {
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d of %d Envoys lack revision %d of %v (%+v, last error: %v): %w", g.left.Load(), g.fleet.steady(), g.revision,
			g.slots, g.fleet.Counts(), g.fleet.Err(), ctx.Err())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.times)
	return g.times, nil
}
