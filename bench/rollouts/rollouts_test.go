package rollouts

import (
	"cmp"
	"flag"
	"slices"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal/signaltest"
)

var (
	goodRuns    = flag.Int("good", 0, "good changes to play")
	slowRuns    = flag.Int("latency", 0, "good changes to play of which latency is judged as well")
	badRuns     = flag.Int("bad", 0, "bad changes to play")
	liveRuns    = flag.Int("live", 0, "changes to stop with real streams")
	firstSeed   = flag.Uint64("seed", 0, "seed of the first; each next one has the next")
	reportFile  = flag.String("report", "", "`file` to write the figures into")
	reportNow   figures
	reportMutex sync.Mutex
)

// runs is how many there are of something.
func runs(set, long, short int) int {
	switch {
	case set > 0:
		return set
	case testing.Short():
		return short
	}
	return long
}

// careful is the policy that all have.
const careful = "waves: [1, 5%, 25%, 100%]\n"

// envoys are a thousand that differ, and tell of as many requests a second as they
// are asked to.
func envoys() signaltest.Fleet {
	f := signaltest.Usual()
	f.Envoys, f.Requests = 1000, 150
	return f
}

// errorsAlone is the policy without latency, which takes long to play.
func errorsAlone(t *testing.T) *definition.Rollout {
	p := policyOf(t, careful)
	p.Stop.Latency.More = 0
	return p
}

// TestGood: a change that does nothing is not stopped, once in a thousand times at
// most, and goes everywhere.
func TestGood(t *testing.T) {
	n := runs(*goodRuns, 6, 2)
	t.Run("errors", func(t *testing.T) {
		s := playAll(t, n, play{fleet: envoys(), policy: errorsAlone(t)})
		s.good(t)
		report(func(f *figures) { f.good = s })
	})
	t.Run("errors and latency", func(t *testing.T) {
		f := envoys()
		f.Latency = true
		s := playAll(t, runs(*slowRuns, 2, 1), play{fleet: f, policy: policyOf(t, careful)})
		s.good(t)
		report(func(f *figures) { f.latency = s })
	})
}

// TestBad: a change with 2 % more errors gets no further than to its first wave, of
// one Envoy, and is stopped there where the traffic is enough to tell.
func TestBad(t *testing.T) {
	s := playAll(t, runs(*badRuns, 6, 2), play{fleet: envoys(), policy: errorsAlone(t), harm: signaltest.Harm{Errors: 0.02}})
	s.bad(t)
	report(func(f *figures) { f.bad = s })
}

// TestServerDies: so is one in whose first wave xds-server dies, right after it began
// or a minute later: the next one knows what the wave's Envoys told before.
func TestServerDies(t *testing.T) {
	for _, dies := range []time.Duration{5 * time.Second, time.Minute} {
		playAll(t, runs(*badRuns, 3, 1), play{fleet: envoys(), policy: errorsAlone(t), harm: signaltest.Harm{Errors: 0.02}, dies: dies}).bad(t)
	}
}

// summary is of many outcomes.
type summary []outcome

// good is what has to be so of changes that do nothing.
func (s summary) good(t *testing.T) {
	t.Helper()
	for _, o := range s {
		if o.state != rollout.Done {
			t.Logf("seed %d: %s: %s", o.seed, o.state, o.words)
		}
	}
	if n := s.count(rollout.Stopped); n > max(1, len(s)/1000) {
		t.Errorf("%d of %d were stopped", n, len(s))
	}
	s.decided(t)
}

// bad is what has to be so of changes that do harm.
func (s summary) bad(t *testing.T) {
	t.Helper()
	for _, o := range s {
		if o.exposed > 10 {
			t.Errorf("seed %d: %s, %d Envoys had it: %s", o.seed, o.state, o.exposed, o.words)
		}
	}
	s.decided(t)
}

// decided has to be so of all.
func (s summary) decided(t *testing.T) {
	t.Helper()
	if n := s.count(rollout.Rolling); n > 0 {
		t.Errorf("%d of %d are still under way after %v", n, len(s), patience)
	}
}

// playAll plays a change with so many seeds, some at the same time.
func playAll(t *testing.T, n int, p play) summary {
	t.Helper()
	var mu sync.Mutex
	var all summary
	begin := time.Now()
	t.Run("play", func(t *testing.T) {
		for i := range n {
			p := p
			p.seed = *firstSeed + uint64(i)
			t.Run("", func(t *testing.T) {
				t.Parallel()
				o := p.run(t)
				t.Logf("seed %d: %s in wave %d after %v: %s", o.seed, o.state, o.wave, o.took, o.words)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, o)
			})
		}
	})
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.seed, b.seed) })
	took := all.sorted(func(o outcome) time.Duration { return o.took })
	t.Logf("seeds %d to %d in %v: %d done, %d stopped, %d under way; at most %d Envoys of those that were stopped; took %v at the median, %v at most",
		*firstSeed, *firstSeed+uint64(n)-1, time.Since(begin).Round(time.Second), all.count(rollout.Done), all.count(rollout.Stopped),
		all.count(rollout.Rolling), all.exposed(), took[len(took)/2], took[len(took)-1])
	return all
}

func (s summary) count(state rollout.State) int {
	n := 0
	for _, o := range s {
		if o.state == state {
			n++
		}
	}
	return n
}

// exposed is how many Envoys had a change that was stopped, at most.
func (s summary) exposed() int {
	most := 0
	for _, o := range s {
		if o.state == rollout.Stopped {
			most = max(most, o.exposed)
		}
	}
	return most
}

// first is how many were stopped in their first wave.
func (s summary) first() int {
	n := 0
	for _, o := range s {
		if o.state == rollout.Stopped && o.wave == 1 {
			n++
		}
	}
	return n
}

func (s summary) sorted(of func(outcome) time.Duration) []time.Duration {
	var all []time.Duration
	for _, o := range s {
		all = append(all, of(o))
	}
	slices.Sort(all)
	return all
}
