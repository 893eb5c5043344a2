package signal

import (
	"math"
	"slices"
	"time"
)

const (
	// surelyIn is by how many standard deviations the blocks before a wave may mislead.
	surelyIn = 4.0
	// lasts is how long an event of an Envoy affects its next blocks.
	lasts = time.Minute
)

// inTheEnd returns a lower bound for the evidence against a harm of two units that the
// blocks before the wave would give if the wave continued forever. The chance deviation of
// each of them is part of the comparison in every round (see evidence), and does not
// average out: if they contained a burst, or an Envoy drifted during that time, a change
// that is just that bad would be neither stopped nor found good. Therefore this is checked
// beforehand.
//
// Each block is compared with the median one. The uncertainty of all of them together is
// the variance of a series, not of independent values: Newey and West (1987), A simple,
// positive semi-definite, heteroskedasticity and autocorrelation consistent covariance
// matrix.
func (a *aligned) inTheEnd(unit float64, count hits) float64 {
	g := a.gridOf(unit, false)
	b := aligned{new: asAWhole(a.new), control: asAWhole(a.control), pairs: a.before, before: a.before}
	xs := slices.DeleteFunc(b.differences(g, count, count), math.IsNaN)
	if len(xs) < fewGroups/2 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(xs))
	usual := (sorted[len(xs)/2] + sorted[(len(xs)-1)/2]) / 2
	sum, n := 0.0, float64(len(xs))
	for i, x := range xs {
		xs[i] = min(max((x-usual)/unit+1, -clip), clip)
		sum += xs[i]
	}
	variance, together := n*variances(xs, 0), n*variances(xs, int(lasts/BlockTime)/g.together)
	sum -= surelyIn * math.Sqrt(max(variance, together))
	return mixture(sum, variance+sum*sum/(3*n)) // as in evidence, for many rounds
}

// variances estimates n times the variance of the mean of a series of n values, of which
// those at most apart steps away from each other are dependent.
func variances(xs []float64, apart int) float64 {
	n := float64(len(xs))
	m := mean(xs)
	all := 0.0
	for lag := range min(apart+1, len(xs)) {
		c := 0.0
		for i := lag; i < len(xs); i++ {
			c += (xs[i] - m) * (xs[i-lag] - m)
		}
		if lag > 0 {
			c *= 2 * (1 - float64(lag)/float64(apart+1))
		}
		all += c
	}
	return all / (n - 3) // as in evidence
}

// asAWhole replaces each block after the beginning of the wave by the sum of all blocks
// before it.
func asAWhole(cohort []series) []series {
	all := slices.Clone(cohort)
	for i := range all {
		s := &all[i]
		whole := &Block{Latencies: s.baseline}
		for _, b := range s.before {
			if b != nil {
				n := b.Count()
				whole.Parts[0].Requests += n.Requests
				whole.Parts[0].Errors += n.Errors
			}
		}
		s.since, s.after = 0, slices.Repeat([]*Block{whole}, len(s.before))
	}
	return all
}
