package pipeline

import (
	"log/slog"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/queue"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/judge"
	"wasmxds/signal"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestCrashesAreDrawn: a crash that counts against a change is one on the curves.
func TestCrashesAreDrawn(t *testing.T) {
	told, err := driver.New(t.Context(), driver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p := &Pipeline{rollouts: told, judge: judge.New(judge.Options{Counts: signal.NewCounts()}), swaps: queue.New[xds.Swaps]()}
	began := time.Unix(1_800_000_000, 0)
	p.judge.Watch(began, rollout.Watch{Change: "c1", Wave: 1, Policy: &definition.Rollout{}, New: []string{"edge-1"}, Control: []string{"edge-2"}, Phase: rollout.During})
	p.swapped(xds.Swaps{Node: "edge-1", At: began.Add(time.Second), Changes: []swap.Change{{Filter: "hello", Stage: swap.ChangePrimed}, {Filter: "hello", Stage: swap.ChangeCrashed}}})
	c := p.judge.Curves(began.Add(signal.BlockTime), "c1")
	if c == nil || len(c.New) != 1 || c.New[0].Crashes != 1 || c.Control[0].Crashes != 0 {
		t.Errorf("the curves are %+v", c)
	}
}
