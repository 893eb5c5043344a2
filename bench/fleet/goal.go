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

// Goal is a revision that all Steady Envoys are to run.
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

// Watch begins to look for a revision, or a later one, in slots of all Steady
// Envoys, each ready and all of it acknowledged. It replaces the goal before.
func (f *Fleet) Watch(revision int, slots ...string) *Goal {
	return f.WatchRoutes(revision, nil, slots...)
}

// WatchRoutes looks for what requests of routes meet, too.
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

// meets looks whether e has come to the fleet's goal, all it has to answer
// being on its way.
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

// First is how long after Watch the first response came to any Envoy.
func (g *Goal) First() time.Duration { return time.Duration(g.first.Load()) }

// responded notes that a response has come.
func (f *Fleet) responded() {
	f.counters.responses.Add(1)
	if g := f.goal.Load(); g != nil && g.first.Load() == 0 {
		g.first.CompareAndSwap(0, int64(time.Since(g.start)))
	}
}

// Wait waits until all have met the goal, and gives how long each took since
// Watch, in order of time.
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

// Lacking describes, after Stop, up to limit Envoys that have not met the
// newest goal.
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

// describe says what an Envoy has and waits for.
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
