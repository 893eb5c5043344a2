package signaltest

import (
	"flag"
	"slices"
	"testing"
	"time"
)

var (
	goodRuns = flag.Int("good", 0, "good rollouts to play of each fleet")
	badRuns  = flag.Int("bad", 0, "bad ones of each kind")
)

func runs(set, long, short int) int {
	switch {
	case set > 0:
		return set
	case testing.Short():
		return short
	}
	return long
}

// summary sums up many outcomes.
type summary struct {
	stopped, stuck, first int
	exposed               int // the largest number
	took                  []time.Duration
	requests              []int
}

func (s *summary) add(o Outcome) {
	switch {
	case o.Stopped:
		s.stopped++
		if o.Wave == 0 {
			s.first++
		}
		s.exposed = max(s.exposed, o.Exposed)
		s.took, s.requests = append(s.took, o.Took), append(s.requests, o.Requests)
	case o.Stuck:
		s.stuck++
	default:
		s.took = append(s.took, o.Waves...)
	}
}

func (s *summary) log(t *testing.T, n int) {
	t.Helper()
	slices.Sort(s.took)
	slices.Sort(s.requests)
	t.Logf("of %d: %d stopped, %d in the first wave, %d stuck, %d Envoys exposed at most; took %v, requests %v (median, least, most)",
		n, s.stopped, s.first, s.stuck, s.exposed, spread(s.took), spread(s.requests))
}

func spread[T any](sorted []T) []T {
	if len(sorted) == 0 {
		return nil
	}
	return []T{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

func with(change func(*Fleet)) Fleet {
	f := Usual()
	change(&f)
	return f
}

// TestGood checks that a change without effect is stopped at most once in a thousand times,
// and reaches all Envoys wherever there is enough traffic to judge it.
func TestGood(t *testing.T) {
	for name, f := range map[string]Fleet{
		"usual":          Usual(),
		"little traffic": with(func(f *Fleet) { f.Requests = 10 }),
		"a trickle":      with(func(f *Fleet) { f.Requests = 2 }),
		"much traffic":   with(func(f *Fleet) { f.Requests = 2000 }),
		"calm":           with(func(f *Fleet) { f.BurstEvery, f.SharedEvery, f.RestartEvery = 0, 0, 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			n := runs(*goodRuns, 25, 4)
			var s summary
			for seed := range uint64(n) {
				r := Careful(false)
				if f.Requests < 10 {
					r.Patience = 20 * time.Minute
				}
				o := r.Run(f, Harm{}, seed)
				s.add(o)
				if o.Stopped {
					t.Logf("%d: %v", seed, o)
				}
			}
			s.log(t, n)
			if s.stopped > 1+n/1000 {
				t.Errorf("%d of %d are stopped", s.stopped, n)
			}
			if s.stuck > 0 && f.Requests > 10 {
				t.Errorf("%d of %d are stuck", s.stuck, n)
			}
		})
	}
}

// TestLatency does the same for a fleet whose latencies are judged, too.
func TestLatency(t *testing.T) {
	f := with(func(f *Fleet) { f.Latency, f.Envoys, f.Requests = true, 100, 100 })
	r := Careful(true)
	r.Waves, r.Watched = []float64{1, 0.1, 1e9}, 8
	r.Thresholds.Waves = 3
	t.Run("good", func(t *testing.T) {
		n := runs(*goodRuns, 10, 2)
		var s summary
		for seed := range uint64(n) {
			o := r.Run(f, Harm{}, seed)
			s.add(o)
			if o.Stopped || o.Stuck {
				t.Logf("%d: %v", seed, o)
			}
		}
		s.log(t, n)
		if s.stopped > n/1000 || s.stuck > 0 {
			t.Errorf("%d of %d are stopped, %d stuck", s.stopped, n, s.stuck)
		}
	})
	t.Run("half as slow again", func(t *testing.T) {
		n := runs(*badRuns, 10, 3)
		var s summary
		for seed := range uint64(n) {
			o := r.Run(f, Harm{Slower: 0.5}, seed)
			s.add(o)
			if !o.Stopped || o.Verdict.Test != "latency" || o.Wave > 0 {
				t.Logf("%d: %v", seed, o)
			}
		}
		s.log(t, n)
		if s.first < n {
			t.Errorf("%d of %d are stopped in the first wave", s.first, n)
		}
	})
}

// TestMisled checks that a harmful change is stopped in its first wave even if the Envoy
// had bursts of errors just before, or drifted. With these seeds of a thousand the wave was
// still undecided after an hour when waves began at the moment of the likeliest verdict.
func TestMisled(t *testing.T) {
	f := with(func(f *Fleet) { f.Requests = 150 })
	for _, seed := range []uint64{90, 217, 255, 460, 998} {
		if o := Careful(false).Run(f, Harm{Errors: 0.02}, seed); !o.Stopped || o.Wave > 0 {
			t.Errorf("%d: %v", seed, o)
		}
	}
}

// TestBad checks that a harmful change is stopped before it reaches all Envoys, and in its
// first wave if there is enough traffic to judge it.
func TestBad(t *testing.T) {
	for _, c := range []struct {
		name     string
		harm     Harm
		requests float64
	}{
		{"2% of errors", Harm{Errors: 0.02}, 200},
		{"2% of errors, much traffic", Harm{Errors: 0.02}, 2000},
		{"2% of errors, late", Harm{Errors: 0.02, After: 30 * time.Second}, 200},
		{"5% of errors", Harm{Errors: 0.05}, 200},
		{"5% of errors, little traffic", Harm{Errors: 0.05}, 20},
		{"2% of errors, a trickle", Harm{Errors: 0.02}, 1},
		{"nearly all fails", Harm{Errors: 0.9}, 200},
		{"silence", Harm{Silent: true}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := runs(*badRuns, 20, 4)
			var s summary
			for seed := range uint64(n) {
				r := Careful(false)
				if c.requests <= 1 {
					r.Patience = 20 * time.Minute
				}
				o := r.Run(with(func(f *Fleet) { f.Requests = c.requests }), c.harm, seed)
				s.add(o)
				if o.Wave > 0 || !o.Stopped && c.requests > 1 {
					t.Logf("%d: %v", seed, o)
				}
			}
			s.log(t, n)
			if c.requests <= 1 { // too little to judge, so the wave waits
				if s.first+s.stuck < n {
					t.Errorf("%d of %d go on", n-s.first-s.stuck, n)
				}
				return
			}
			if s.first < n {
				t.Errorf("%d of %d are stopped in the first wave", s.first, n)
			}
		})
	}
}
