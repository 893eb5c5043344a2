package scale

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
)

var full = flag.Bool("full", false, "measure in full size")

// size is one number in full size, another as a test.
func size(large, small int) int {
	if *full {
		return large
	}
	return small
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build builds xds-server.
func build(t *testing.T, dir string) string {
	t.Helper()
	root, err := harness.Root()
	must(t, err)
	program, err := harness.BuildServer(t.Context(), root, dir)
	must(t, err)
	return program
}

// start starts a fleet, and returns when all have a revision of the filters.
func start(t *testing.T, o fleet.Options, revision int, filters ...string) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(o)
	must(t, err)
	ready := f.Watch(revision, filters...)
	f.Start(context.WithoutCancel(t.Context()))
	t.Cleanup(f.Stop)
	wait(t, ready)
	return f
}

// wait gives how long each Envoy took.
func wait(t *testing.T, g *fleet.Goal) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	took, err := g.Wait(ctx)
	must(t, err)
	return took
}

// eventually waits: until a thousand objects have their conditions takes minutes on a
// busy machine.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	must(t, harness.Poll(t.Context(), 10*time.Minute, check))
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func p99(all []time.Duration) time.Duration { return harness.Quantile(all, 0.99) }

// write replaces a file in one step.
func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	temporary := filepath.Join(dir, "."+name)
	must(t, os.WriteFile(temporary, content, 0o644))
	must(t, os.Rename(temporary, filepath.Join(dir, name)))
}

// config is a filter's configuration, which says its revision.
func config(revision int) string { return fmt.Sprintf("%s and a few words more", fleet.Mark(revision)) }
