package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/queue"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/source"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// joining is a running join, with its output in order.
type joining struct {
	inputs
	certificates chan<- []definition.Problem
	follows      atomic.Bool // plans wait for another server

	mu   sync.Mutex
	told []string
}

func (j *joining) tell(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = append(j.told, what)
}

// has waits until all goroutines are blocked, and compares the output since the
// last call.
func (j *joining) has(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.told, want) {
		t.Errorf("told %q, want %q", j.told, want)
	}
	j.told = nil
}

// joined runs a join until the test ends. Publishing connects an Envoy that
// swaps immediately.
func joined() (j *joining, end func()) {
	guards := make(chan []definition.Problem)
	in := &joining{certificates: guards, inputs: inputs{
		updates: make(chan source.Update), sets: make(chan *module.Set), plans: make(chan *rollout.Plan, 1), swaps: queue.New[xds.Swaps](0), guards: guards,
	}}
	run := &join{
		options: resource.Options{ModulesURL: "http://127.0.0.1:18001"},
		log:     slog.New(slog.DiscardHandler),
		ready:   func() { in.tell("ready") },
		want: func(set *module.Set) {
			if !in.follows.Load() {
				in.plans <- &rollout.Plan{Base: set}
			}
		},
		publish: func(xds.Publication) {
			in.tell("published")
			in.swaps.Add(xds.Swaps{Node: "edge-1", Changes: make([]swap.Change, 1)})
		},
		loaded: func(l admin.Loaded) {
			var problems []string
			for _, p := range l.Problems {
				problems = append(problems, p.Message)
			}
			in.tell(fmt.Sprintf("loaded %v %s", l.Set != nil, strings.Join(problems, ",")))
		},
		swapped: func(w xds.Swap) { in.tell("swapped " + w.Node) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run.run(ctx, in.inputs) })
	return in, func() { cancel(); running.Wait() }
}

func setIn(state module.State) *module.Set {
	d := &definition.Filter{Name: "hello", OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	f := &module.Filter{Definition: d, Wanted: d, State: state}
	return &module.Set{Filters: []*module.Filter{f}}
}

// TestSwapsAreToldAfterTheirChange has an Envoy swap before the change is
// reported.
func TestSwapsAreToldAfterTheirChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		j.sets <- setIn(module.Good)
		j.has(t, "published", "loaded true ", "ready", "swapped edge-1")
		j.sets <- setIn(module.Good)
		j.has(t, "loaded true ", "published", "loaded true ", "swapped edge-1")
	})
}

// TestFirstSetWaitsForModules checks that the first set is held back while
// modules are being fetched, but not for long, and that no later one is.
func TestFirstSetWaitsForModules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		j.sets <- setIn(module.Fetching)
		time.Sleep(firstHold - time.Millisecond)
		j.has(t)
		time.Sleep(time.Millisecond)
		j.has(t, "published", "loaded true ", "ready", "swapped edge-1")
		j.sets <- setIn(module.Fetching)
		j.has(t, "loaded true ", "published", "loaded true ", "swapped edge-1")
	})
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		j.sets <- setIn(module.Fetching)
		j.has(t)
		j.sets <- setIn(module.Good) // all have been fetched
		j.has(t, "published", "loaded true ", "ready", "swapped edge-1")
		time.Sleep(2 * firstHold)
		j.has(t)
	})
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		time.Sleep(2 * firstHold) // it took long to read anything
		j.sets <- setIn(module.Fetching)
		j.has(t, "published", "loaded true ", "ready", "swapped edge-1")
	})
}

// TestNothingIsReadyBeforeItIsPublished checks that a follower publishes
// nothing before the leader has written something. Until then, it reports
// problems, but no set.
func TestNothingIsReadyBeforeItIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		j.follows.Store(true)
		j.sets <- setIn(module.Good)
		j.has(t)
		j.updates <- source.Update{Problems: []definition.Problem{{File: "b.yaml", Message: "wrong"}}}
		j.has(t, "loaded false wrong")
		j.plans <- &rollout.Plan{Base: setIn(module.Good)}
		j.has(t, "published", "loaded true wrong", "ready", "swapped edge-1")
	})
}

// TestNothingIsPublishedAtTheEnd checks that what is held back is not published
// when a server ends.
func TestNothingIsPublishedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		j.sets <- setIn(module.Fetching)
		synctest.Wait()
		j.swaps.Add(xds.Swaps{Node: "edge-2", Changes: make([]swap.Change, 1)})
		end()
		time.Sleep(2 * firstHold)
		j.has(t, "swapped edge-2") // earlier swaps are still reported
	})
}

// TestProblemsOfAllStagesAreTold covers the directory, certificates and the
// policy.
func TestProblemsOfAllStagesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, end := joined()
		defer end()
		j.updates <- source.Update{Problems: []definition.Problem{{File: "b.yaml", Message: "wrong"}}}
		j.has(t, "loaded false wrong")
		j.certificates <- []definition.Problem{{File: "a.pem", Message: "expired"}}
		j.has(t, "loaded false expired,wrong")
	})
}
