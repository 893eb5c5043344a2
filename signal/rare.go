package signal

import "math"

// rare returns the probability of n or more events within time in a cohort, if they occur
// at the same rate as elsewhere, where seen events occurred within a time of elsewhere.
// Events are Poisson distributed. Their rate is Gamma distributed, given what was seen and
// a prior of one event per usual time.
func rare(n int, time float64, seen int, elsewhere, usual float64) float64 {
	if n <= 0 {
		return 1
	}
	shape := float64(1 + seen)
	stay := (usual + elsewhere) / (usual + elsewhere + time)
	// The tail of a negative binomial distribution.
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	k := float64(n)
	term := math.Exp(lg(k+shape) - lg(k+1) - lg(shape) + shape*math.Log(stay) + k*math.Log(1-stay))
	sum := 0.0
	for range 100_000 {
		sum += term
		if term < sum*1e-12 {
			break
		}
		term *= (k + shape) / (k + 1) * (1 - stay)
		k++
	}
	return min(sum, 1)
}
