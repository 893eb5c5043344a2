package signal

import (
	"fmt"
	"math"
	"slices"
)

// Ready reports whether the cohorts of a wave that has not begun, with Began and Now set to
// the current time, have been observed for long enough. That is the case if the wave can
// then be judged in about as much time again, and will certainly be judged in the end,
// according to how much blocks have differed so far. With little traffic that takes long,
// and the caller must limit the wait. The words say what is missing.
func (w Wave) Ready(t Thresholds) (ok bool, words string) {
	if t.tests() == 0 {
		return true, ""
	}
	a := w.started().align(t.Latency.More > 0)
	a.setQuantile(t.Quantile)
	if len(a.new) == 0 || a.before == 0 {
		return false, "the wave's Envoys have told of no requests yet"
	}
	for _, test := range []struct {
		name  string
		limit Limit
		unit  float64
		harm  float64 // share of requests that are bad at the harm that is looked for
		count hits
	}{
		{"errors", t.Errors, t.Errors.More, 2 * t.Errors.More, failures},
		{"latency", t.Latency, unitOf(t.Quantile), 2 * unitOf(t.Quantile), slower(0)},
	} {
		if test.limit.More == 0 {
			continue
		}
		have, need := a.outlook(test.unit, test.harm, test.count), 1.2*needed(t.alpha(test.limit.Confidence))
		if test.name == "errors" { // a change of latency moves far more than one unit of requests
			have = min(have, a.inTheEnd(test.unit, test.count))
		}
		if have < need {
			return false, fmt.Sprintf("%s: %.0f%% of what it takes to compare is known", test.name, 100*have/need)
		}
	}
	return true, ""
}

// started returns the wave as if all of New had the change since it began.
func (w Wave) started() Wave {
	w.New = slices.Clone(w.New)
	for i := range w.New {
		w.New[i].Since = w.Began
	}
	return w
}

// outlook returns the evidence against a harm of two units that the blocks before the wave
// would give if the signals continued in the same way.
func (a *aligned) outlook(unit, harm float64, count hits) float64 {
	g := a.gridOf(unit, false)
	half := g.cells(a.before) / 2
	if half < 2 {
		return 0
	}
	// The blocks before the wave are paired with each other: the first half with the
	// second.
	blocks := half * g.together
	requests := 0
	among := func(cohort []series) []series {
		all := make([]series, len(cohort))
		for i, s := range cohort {
			all[i] = s
			all[i].before, all[i].after, all[i].since = s.before[:min(blocks, len(s.before))], nil, 0
			if len(s.before) > blocks {
				all[i].after = s.before[blocks:min(2*blocks, len(s.before))]
			}
		}
		return all
	}
	b := aligned{new: among(a.new), control: among(a.control), pairs: blocks, before: blocks}
	ys := slices.DeleteFunc(b.differences(g, count, count), math.IsNaN)
	for i := range b.new {
		requests += requestsOf(b.new[i].before)
	}
	if len(ys) == 0 || requests == 0 {
		return 0
	}
	// What the harm itself adds: its mean, and its own variance.
	adds := 1 + harm*float64(half)/float64(requests)/(unit*unit)
	squares := 0.0
	for _, y := range ys {
		x := min(max(y/unit, -clip), clip)
		squares += x*x + adds
	}
	n := float64(g.cells(a.before)) * float64(len(ys)) / float64(half)
	return mixture(n, squares/float64(len(ys))*n)
}
