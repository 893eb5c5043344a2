package signaltest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"wasmxds/signal"
)

// Rollout describes how a change is rolled out.
type Rollout struct {
	Waves      []float64     // shares of the fleet; a value of one or more is a number of Envoys
	Before     time.Duration // how long cohorts are observed before a wave
	Ready      bool          // or until they can be compared, if that is sooner
	Bake       time.Duration // how long a wave must be good
	Watched    int           // the most Envoys of the new cohort
	Compared   int           // the least Envoys of control, if there are as many
	Patience   time.Duration // how long to wait for a verdict on a wave
	Thresholds signal.Thresholds
}

// Careful returns the policy of the documentation: one Envoy, 5 %, 25 %, all; stopped at 1
// % more errors, and, if latency is true, at a p99 that is 25 % higher.
func Careful(latency bool) Rollout {
	r := Rollout{Waves: []float64{1, 0.05, 0.25, 1e9}, Before: 20 * time.Minute, Ready: true, Bake: 2 * time.Minute, Watched: 32, Compared: 32, Patience: time.Hour,
		Thresholds: signal.Thresholds{Waves: 4, Errors: signal.Limit{More: 0.01, Confidence: 0.999}}}
	if latency {
		r.Thresholds.Latency, r.Thresholds.Quantile = signal.Limit{More: 0.25, Confidence: 0.999}, 0.99
	}
	return r
}

// Outcome is the result of a rollout.
type Outcome struct {
	Stopped, Stuck bool
	Wave           int           // in which it was stopped or stuck, from 0
	Exposed        int           // number of Envoys that had the change
	Requests       int           // seen in the deciding wave since it began
	Took           time.Duration // duration of that wave, after the change
	Verdict        signal.Verdict
	Waves          []time.Duration // duration of each good wave
}

func (o Outcome) String() string {
	what := "went everywhere"
	switch {
	case o.Stopped:
		what = fmt.Sprintf("stopped in wave %d", o.Wave+1)
	case o.Stuck:
		what = fmt.Sprintf("stuck in wave %d", o.Wave+1)
	}
	return fmt.Sprintf("%s after %v, %d Envoys exposed, %d requests seen: %s: %s", what, o.Took, o.Exposed, o.Requests, o.Verdict.Test, o.Verdict.Words)
}

// Run simulates a rollout of a change on a fleet. The result is deterministic for a seed.
func (r Rollout) Run(f Fleet, h Harm, seed uint64) Outcome {
	w := f.world(seed, h)
	order := w.rand.Perm(f.Envoys)
	now, had := 600, 0
	var o Outcome
	for wave, share := range r.Waves {
		to := r.reaches(share, f.Envoys)
		if to <= had {
			continue
		}
		o.Wave = wave
		fresh := sample(order[had:to], r.Watched)
		compared := max(len(fresh), r.Compared)
		others := sample(order[to:], compared)
		if len(others) == 0 { // those that have had it for long
			others = sample(order[:had], compared)
		}
		if r.wave(w, fresh, others, to, &now, &o); o.Stopped || o.Stuck {
			return o
		}
		had = to
	}
	return o
}

func (r Rollout) reaches(share float64, of int) int {
	if share >= 1 {
		return min(int(share), of)
	}
	return max(int(math.Ceil(share*float64(of))), 1)
}

// sample returns the first n.
func sample(from []int, n int) []int { return slices.Clone(from[:min(n, len(from))]) }

// wave simulates one wave, until it is decided.
func (r Rollout) wave(w *world, fresh, others []int, exposed int, now *int, o *Outcome) {
	step := int(signal.BlockTime / time.Second)
	began := *now
	for {
		*now += 5 * step
		v := w.view(fresh, others, *now, *now)
		if time.Duration(*now-began)*time.Second >= r.Before {
			break
		}
		if ready, _ := v.Ready(r.Thresholds); r.Ready && ready {
			break
		}
	}
	began = *now
	o.Exposed = exposed
	w.begin(fresh, began)
	for {
		*now += step
		if *now-began > 600 { // look less often, to be faster
			*now += 9 * step
		}
		took := time.Duration(*now-began) * time.Second
		verdicts := signal.Judge(w.view(fresh, others, began, *now), r.Thresholds)
		all := true
		for _, v := range verdicts {
			if v.Kind == signal.Bad {
				o.Stopped, o.Verdict, o.Requests, o.Took = true, v, v.Requests, took
				return
			}
			if v.Kind == signal.None {
				all, o.Verdict = false, v
			}
			o.Requests = max(o.Requests, v.Requests)
		}
		o.Took = took
		if all && took >= r.Bake {
			o.Waves = append(o.Waves, took)
			return
		}
		if took >= r.Patience {
			o.Stuck = true
			return
		}
	}
}

// begin gives the change to a cohort, which takes up to two seconds.
func (w *world) begin(fresh []int, at int) {
	for _, i := range fresh {
		e := w.envoy(i, at)
		e.since = float64(at) + 2*e.rand.Float64()
	}
}

// view returns the signals of a wave.
func (w *world) view(fresh, others []int, began, now int) signal.Wave {
	at := func(s float64) time.Time { return w.start.Add(time.Duration(s * float64(time.Second))) }
	v := signal.Wave{Began: at(float64(began)), Now: at(float64(now))}
	know := func(cohort []int, changed bool) (all []signal.Envoy) {
		for _, i := range cohort {
			e := w.envoy(i, now-1)
			w.goTo(e, now)
			known := signal.Envoy{Node: e.name, Away: float64(now) < e.down}
			if changed && e.since < never {
				known.Since = at(e.since)
			}
			if len(e.blocks) > 0 {
				e.close()
				known.Blocks = e.blocks
				if last := e.blocks[len(e.blocks)-1]; last.Start.Add(signal.BlockTime).After(v.Now) {
					known.Blocks = e.blocks[:len(e.blocks)-1]
				}
			}
			all = append(all, known)
		}
		return all
	}
	v.New, v.Control = know(fresh, true), know(others, false)
	return v
}
