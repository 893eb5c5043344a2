package signal

import "math"

// rare is the chance to see n events or more in a cohort's time, if they come there
// as often as elsewhere, where so many were seen in so much time: they are
// Poisson, and how often they come is Gamma distributed, after what was seen and
// one event in a prior time that is thought of as usual.
func rare(n int, time float64, seen int, elsewhere, usual float64) float64 {
	if n <= 0 {
		return 1
	}
	shape := float64(1 + seen)
	stay := (usual + elsewhere) / (usual + elsewhere + time)
	// A negative binomial's tail.
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
