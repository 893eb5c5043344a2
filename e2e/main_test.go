// Package e2e tests xds-server on real Envoys: what a request meets while
// filters come, change and go, and while everything around them fails.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"wasmxds/e2e/harness"
)

// What TestMain found and built; tests only read it.
var (
	envoys    []harness.Binary // oldest first
	xdsServer string           // the program
)

// transport is what xds-server serves streams by in all scenes.
var transport = flag.String("transport", "grpc", "xds-server's --transport in all scenes")

// all has the scenes that take many minutes played in each combination.
var all = flag.Bool("all", false, "play the scenes that take many minutes with each Envoy in both protocols, not only the oldest in sotw and the newest in delta")

// scenesAtOnce is how many of the scenes run at the same time that wait for minutes rather
// than work.
const scenesAtOnce = 16

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "wasmxds-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err == nil && *reportFile != "" {
		report, err = startReport()
	}
	if err == nil {
		err = flag.Set("test.parallel", fmt.Sprint(max(runtime.GOMAXPROCS(0), scenesAtOnce)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if report != nil {
		if err := report.write(*reportFile); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func prepare(dir string) error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if envoys, err = harness.Envoys(ctx, root); err != nil {
		return err
	}
	xdsServer, err = harness.BuildServer(ctx, root, dir)
	return err
}

// combination is an Envoy and how it speaks to xds-server.
type combination struct {
	envoy    harness.Binary
	protocol string
}

func (c combination) String() string { return c.envoy.Version + " " + c.protocol }

// newest is the combination for scenes that take long or that are the same in
// each.
func newest() combination {
	return combination{envoys[len(envoys)-1], "delta"}
}

// eachOnce runs a scene that takes many minutes with each Envoy and in both protocols,
// but, without -all, not with each in both.
func eachOnce(t *testing.T, scene func(t *testing.T, c combination)) {
	if *all {
		eachCombination(t, scene)
		return
	}
	for _, c := range []combination{{envoys[0], "sotw"}, newest()} {
		t.Run(c.String(), func(t *testing.T) { scene(t, c) })
	}
}

// newestOrAll runs a scene once, or with -all with each Envoy in both protocols.
func newestOrAll(t *testing.T, scene func(t *testing.T, c combination)) {
	if *all {
		eachCombination(t, scene)
		return
	}
	t.Run(newest().String(), func(t *testing.T) { scene(t, newest()) })
}

// eachCombination runs a scene with each Envoy in both protocols.
func eachCombination(t *testing.T, scene func(t *testing.T, c combination)) {
	for _, envoy := range envoys {
		for _, protocol := range []string{"sotw", "delta"} {
			c := combination{envoy, protocol}
			t.Run(c.String(), func(t *testing.T) { scene(t, c) })
		}
	}
}

// atOnce runs a scene with each Envoy in both protocols: all at a time, as it
// mostly waits, unless it is timed.
func atOnce(t *testing.T, scene func(t *testing.T, c combination)) {
	if report != nil {
		eachCombination(t, scene)
		return
	}
	var all sync.WaitGroup
	for _, envoy := range envoys {
		for _, protocol := range []string{"sotw", "delta"} {
			c := combination{envoy, protocol}
			all.Go(func() {
				t.Run(c.String(), func(t *testing.T) { scene(t, c) })
			})
		}
	}
	all.Wait()
}
