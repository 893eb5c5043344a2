package signal

import "math"

// The sequential test. It is told of differences y, one for each pair of blocks,
// and asks whether their center is above m. Swapping a block before the change
// with one after it turns y into -y, so if the change does nothing, y is
// symmetric about zero, whatever an Envoy is like by itself, and however unlike
// others: no variance is estimated and none assumed to exist. For y symmetric
// about m or less, given what was before, exp(λ(y-m) - λ²(y-m)²/2) is an e-value for
// each λ > 0, and their product over time a supermartingale (de la Peña 1999, A
// general class of exponential inequalities for martingales and ratios). Mixed
// over λ by a half-normal distribution, as Robbins did, it exceeds 1/α at any time
// with a chance of at most α (Ville); this is the one-sided normal mixture of
// Howard, Ramdas, McAuliffe and Sekhon (2021), Time-uniform, nonparametric,
// nonasymptotic confidence sequences, with the sum of squares as its variance. One
// may look as often as one likes.
//
// In this form a block gives no more than half a nat, however large its y. That is
// on purpose: Envoys have bursts of errors by themselves, and a burst of
// up to some twenty blocks can't make up evidence, while what lasts does.

const (
	// clip is where y-m ends, in units of what is looked for: what is symmetric
	// stays so, and one burst before the change hides nothing for long.
	clip = 4.0
	// prior is the mixture's parameter, in the same units: it is sharpest where
	// some thirty blocks have told.
	prior = 1.4
	// A test begins with the first pair, and once more every so many: what starts to go
	// wrong late is not made up for by a good beginning.
	newStart   = 40
	firstStart = 0.8 // of the chance of error; the others share the rest
)

// evidence is the log of an e-value against the center being m or less, or m or
// more if down. Where the blocks before the change are used again, in rounds, all
// differences with one of them are one observation, their mean: what that block has
// of chance is in all of them, and does not average out over rounds. So evidence
// ends with what is known of before, however long one looks. From two rounds on, a
// burst is a small part of what was seen, and a tighter variance is taken, a third
// of the squares and two of the variance (Delyon 2009, Exponential inequalities for
// sums of weakly dependent variables); it is estimated, so this holds about.
func evidence(ys []float64, m, unit float64, before int, down bool) float64 {
	total := math.Inf(-1)
	for j, start := 0, 0; start == 0 || start+newStart/4 <= len(ys); j, start = j+1, start+newStart {
		weight := firstStart
		if j > 0 {
			weight = (1 - firstStart) / float64(j*(j+1))
		}
		total = max(total, math.Log(weight)+evidenceFrom(ys[start:], m, unit, before, down))
	}
	return total
}

func evidenceFrom(ys []float64, m, unit float64, before int, down bool) float64 {
	var sum, squares float64
	groups := min(before, len(ys))
	for i := range groups {
		mean, n := 0.0, 0.0
		for r := i; r < len(ys); r += before {
			if x := (ys[r] - m) / unit; !math.IsNaN(x) {
				mean, n = mean+min(max(x, -clip), clip), n+1
			}
		}
		mean /= max(n, 1)
		sum += mean
		squares += mean * mean
	}
	if down {
		sum = -sum
	}
	if n := float64(groups); len(ys) >= 2*before && groups >= fewGroups {
		variance := (squares - sum*sum/n) * n / (n - 3)
		squares = (squares + 2*variance) / 3
	}
	return mixture(sum, squares)
}

// fewGroups are too few to estimate a variance of.
const fewGroups = 12

// mixture is the log of the mixture over λ of exp(λ sum - λ² squares/2).
func mixture(sum, squares float64) float64 {
	v := squares + prior
	z := sum / math.Sqrt(v)
	if z < -8 { // where erfc runs out of digits: its asymptote
		return 0.5*math.Log(prior/v) - math.Log(-z*math.Sqrt(math.Pi/2))
	}
	return 0.5*math.Log(prior/v) + z*z/2 + math.Log(math.Erfc(-z/math.Sqrt2))
}

// needed is the evidence at which a test of level alpha is decided.
func needed(alpha float64) float64 { return -math.Log(alpha) }
