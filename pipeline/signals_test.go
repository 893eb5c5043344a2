package pipeline

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/queue"
	"wasmxds/rollout"
	"wasmxds/rollout/judge"
	"wasmxds/signal"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestCrashesAreDrawn checks that a crash that counts against a change is on
// the curves once.
func TestCrashesAreDrawn(t *testing.T) {
	p := &Pipeline{judge: judge.New(judge.Options{Counts: signal.NewCounts()}), swaps: queue.New[xds.Swaps](0), options: Options{Log: slog.New(slog.DiscardHandler)}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	if p.rollouts, err = p.newDriver(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); p.rollouts.Run(ctx) }()
	began := time.Now()
	p.judge.Watch(began, rollout.Watch{Change: "c1", Wave: 1, Policy: &definition.Rollout{}, New: []string{"edge-1"}, Control: []string{"edge-2"}, Phase: rollout.During})
	p.swapped(xds.Swaps{Node: "edge-1", At: began, Changes: []swap.Change{{Filter: "hello", Stage: swap.ChangePrimed}, {Filter: "hello", Stage: swap.ChangeCrashed}}})
	if _, err := p.rollouts.Status(ctx); err != nil { // waits for earlier events
		t.Fatal(err)
	}
	cancel()
	<-done
	c := p.judge.Curves(time.Now().Add(signal.BlockTime), "c1")
	crashes := func(points []rollout.Point) (n int) {
		for _, p := range points {
			n += p.Crashes
		}
		return n
	}
	if c == nil || crashes(c.New) != 1 || crashes(c.Control) != 0 {
		t.Errorf("the curves are %+v", c)
	}
}
