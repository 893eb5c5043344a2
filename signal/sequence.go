package signal

import "math"

// The sequential test. Its input is differences y, one per pair of blocks, and it tests
// whether their center is above m. Swapping a block before the change with one after it
// turns y into -y. So if the change does nothing, y is symmetric about zero, whatever an
// Envoy is like, and however different others are: no variance is estimated, and none is
// assumed to exist. For y symmetric about m or less, given the past, exp(λ(y-m) -
// λ²(y-m)²/2) is an e-value for each λ > 0, and their product over time is a
// supermartingale (de la Peña 1999, A general class of exponential inequalities for
// martingales and ratios). Mixed over λ by a half-normal distribution, as Robbins did, it
// exceeds 1/α at any time with a probability of at most α (Ville). This is the one-sided
// normal mixture of Howard, Ramdas, McAuliffe and Sekhon (2021), Time-uniform,
// nonparametric, nonasymptotic confidence sequences, with the sum of squares as its
// variance. It may be evaluated at any time, any number of times.
//
// In this form a block contributes at most half a nat, however large its y is. This is
// intentional: Envoys have bursts of errors of their own, and a burst of up to about twenty
// blocks can't add up to sufficient evidence, whereas a lasting increase does.

const (
	// clip limits y-m, in units of what is looked for: symmetric values stay symmetric, and
	// a single burst before the change hides nothing for long.
	clip = 4.0
	// prior is the parameter of the mixture, in the same units. The mixture is sharpest
	// after about thirty blocks.
	prior = 1.4
	// A test starts with the first pair, and again every newStart pairs: a good beginning
	// must not compensate for a change that goes wrong late.
	newStart   = 40
	firstStart = 0.8 // of the error probability; later starts share the rest
)

// evidence returns the log of an e-value against the center being m or less, or m or more
// if down. If the blocks before the change are used repeatedly, in rounds, the mean of all
// differences with one of them is one observation, because the chance deviation of that
// block is in all of them, and does not average out over rounds. The evidence is therefore
// limited by the blocks before the change, however long one looks. From two rounds on, a
// burst is a small part of what was seen, and a tighter variance is used, one third of the
// squares and two thirds of the variance (Delyon 2009, Exponential inequalities for sums of
// weakly dependent variables). It is estimated, so the bound is approximate.
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

// fewGroups is too few to estimate a variance.
const fewGroups = 12

// mixture returns the log of the mixture over λ of exp(λ sum - λ² squares/2).
func mixture(sum, squares float64) float64 {
	v := squares + prior
	z := sum / math.Sqrt(v)
	if z < -8 { // where erfc loses precision: its asymptote
		return 0.5*math.Log(prior/v) - math.Log(-z*math.Sqrt(math.Pi/2))
	}
	return 0.5*math.Log(prior/v) + z*z/2 + math.Log(math.Erfc(-z/math.Sqrt2))
}

// needed returns the evidence at which a test of level alpha decides.
func needed(alpha float64) float64 { return -math.Log(alpha) }
