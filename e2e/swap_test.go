package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// swapScene changes the filters of a subject again and again, under load.
type swapScene struct {
	name    string
	filters []string
	swaps   int
	// fetches is how many modules each swap brings.
	fetches int
	// version gives a filter in its i-th version; its header's value is i.
	version func(name string, i int) filterSpec
}

func swapScenes() []swapScene {
	one := []string{"hello"}
	var ten []string
	for i := range 10 {
		ten = append(ten, fmt.Sprintf("f%d", i))
	}
	return []swapScene{
		{"module", one, *swaps, 1, func(name string, i int) filterSpec { return byModule(name, strconv.Itoa(i)) }},
		{"config", one, *swaps, 0, func(name string, i int) filterSpec { return byConfig(name, strconv.Itoa(i), "") }},
		{"module and config", one, *swaps, 1, func(name string, i int) filterSpec { return byConfig(name, strconv.Itoa(i), strconv.Itoa(i)) }},
		{"ten filters at once", ten, rounds(), 10, func(name string, i int) filterSpec { return byModule(name, strconv.Itoa(i)) }},
	}
}

func (s swapScene) all(i int) []filterSpec {
	var specs []filterSpec
	for _, name := range s.filters {
		specs = append(specs, s.version(name, i))
	}
	return specs
}

// swapResult is what came of a scene.
type swapResult struct {
	swaps, lost int // lost ones were never seen at the upstream
	counts      harness.Counts
	took        []time.Duration // file written → first request through the new filter (the last of them)
	fetches     int64           // of modules, by Envoy
}

func (r swapResult) String() string {
	return fmt.Sprintf("%d swaps, %d never seen: %v; p50 %v, max %v; %d fetches", r.swaps, r.lost, r.counts,
		harness.Quantile(r.took, 0.5), harness.Quantile(r.took, 1), r.fetches)
}

// play makes n swaps.
func (s swapScene) play(t *testing.T, n int, subject subject) swapResult {
	t.Helper()
	e := subject.envoy()
	l := subject.load(s.filters...)
	see := func(i int, start time.Time) (time.Duration, error) {
		var took time.Duration
		for _, name := range s.filters {
			err := harness.Poll(t.Context(), subject.patience(), func() error {
				at, err := l.Seen("x-"+name, strconv.Itoa(i))
				took = max(took, at.Sub(start))
				return err
			})
			if err != nil {
				return took, err
			}
		}
		return took, nil
	}
	if _, err := see(0, e.Started); err != nil {
		t.Fatal(err)
	}
	_, before, err := e.Answers(t.Context(), subject.modules())
	must(t, err)
	r := swapResult{swaps: n}
	for i := range n {
		took, err := see(i+1, subject.set(s.all(i+1)))
		if err != nil {
			r.lost++
			continue
		}
		r.took = append(r.took, took)
	}
	_, after, err := e.Answers(t.Context(), subject.modules())
	must(t, err)
	r.fetches = after - before
	r.counts = l.Stop()
	return r
}

// TestSwaps: no request is refused, fails or passes without its filter while
// filters change, and each module is fetched once.
func TestSwaps(t *testing.T) {
	for _, s := range swapScenes() {
		t.Run(s.name, func(t *testing.T) {
			eachCombination(t, func(t *testing.T, c combination) {
				r := s.play(t, s.swaps, newOurs(t, c, s.all(0)...))
				t.Log(r)
				report.addOurs(s.name, c, r)
				if r.counts.Bad() > 0 || r.counts.Requests == 0 {
					t.Error(r.counts)
				}
				if r.lost > 0 {
					t.Errorf("%d swaps were never seen", r.lost)
				}
				if want := int64(r.swaps * s.fetches); r.fetches != want {
					t.Errorf("Envoy fetched %d modules, want %d", r.fetches, want)
				}
			})
		})
	}
}
