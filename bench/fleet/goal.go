package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Goal is a revision that all Steady Envoys should run.
type Goal struct {
	fleet    *Fleet
	revision int
	slots    []string
	routes   []RouteGoal
	start    time.Time

	first atomic.Int64 // nanoseconds until the first response; 0: none yet
	left  atomic.Int64
	done  chan struct{} // closed when all have met it

	mu    sync.Mutex
	times []time.Duration
}

// Watch begins to wait until slots of all Steady Envoys have a revision or a later
// one, each Envoy is ready, and has acknowledged everything. It replaces the
// previous goal.
func (f *Fleet) Watch(revision int, slots ...string) *Goal {
	return f.WatchRoutes(revision, nil, slots...)
}

// WatchRoutes also waits for what requests of routes meet.
func (f *Fleet) WatchRoutes(revision int, routes []RouteGoal, slots ...string) *Goal {
	g := &Goal{fleet: f, revision: revision, slots: slots, routes: routes, start: time.Now(), done: make(chan struct{})}
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

// meets checks whether e has reached the fleet's goal. All its answers must have
// been sent.
func (f *Fleet) meets(e *envoy) {
	g := f.goal.Load()
	if g == nil || e.met == g || e.role != Steady || !e.ready() {
		return
	}
	for _, name := range g.slots {
		if c := e.runs(name); c == nil || c.revision < g.revision {
			return
		}
	}
	for _, of := range g.routes {
		if !e.meets(of, g.revision) {
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

// First returns the time from Watch until the first response to any Envoy.
func (g *Goal) First() time.Duration { return time.Duration(g.first.Load()) }

// responded records that a response has arrived.
func (f *Fleet) responded() {
	f.counters.responses.Add(1)
	if g := f.goal.Load(); g != nil && g.first.Load() == 0 {
		g.first.CompareAndSwap(0, int64(time.Since(g.start)))
	}
}

// Wait waits until all have met the goal, and returns how long each took since
// Watch, in ascending order.
func (g *Goal) Wait(ctx context.Context) ([]time.Duration, error) {
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d of %d Envoys lack revision %d of %v%v (%+v, last error: %v): %w", g.left.Load(), g.fleet.steady(), g.revision,
			g.slots, g.routes, g.fleet.Counts(), g.fleet.Err(), ctx.Err())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.times)
	return g.times, nil
}

// Lacking describes, after Stop, at most limit Envoys that have not met the newest
// goal.
func (f *Fleet) Lacking(limit int) []string {
	var out []string
	g := f.goal.Load()
	for _, e := range f.envoys {
		if g == nil || e.met == g || e.role != Steady || len(out) == limit {
			continue
		}
		out = append(out, e.describe())
	}
	return out
}

// describe returns what an Envoy has and what it waits for.
func (e *envoy) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d responses with filters, the last %v before the end", nodeID(e.n), e.pushes, e.ended.Sub(e.last).Round(time.Millisecond))
	for _, l := range e.listeners {
		fmt.Fprintf(&b, "; listener %s warming=%v", l.name, l.warming)
	}
	for name, s := range e.slots {
		if s.active == nil || s.last != s.active {
			fmt.Fprintf(&b, "; slot %s active=%v refused=%v", name, s.active != nil, s.last != s.active)
		}
	}
	return b.String()
}
