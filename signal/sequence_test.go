package signal

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
)

var sequences = flag.Int("sequences", 0, "sequences to play of each distribution")

// TestEvidence checks that evidence, computed after each block, exceeds log(1/α) in at most
// a share α of all sequences without a difference, whatever their symmetric distribution,
// and that it finds a difference that exists.
func TestEvidence(t *testing.T) {
	const alpha = 0.01
	n := 3000
	if testing.Short() {
		n = 1000
	}
	if *sequences > 0 {
		n = *sequences
	}
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":       func(r *rand.Rand) float64 { return r.NormFloat64() },
		"small":        func(r *rand.Rand) float64 { return r.NormFloat64() / 100 },
		"heavy tails":  func(r *rand.Rand) float64 { return math.Tan(math.Pi * (r.Float64() - 0.5)) },
		"coin":         func(r *rand.Rand) float64 { return float64(2*r.IntN(2) - 1) },
		"two Poissons": func(r *rand.Rand) float64 { a, b := few(r, 0.3), few(r, 0.3); return float64(a - b) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			wrong := 0
			for range n {
				var ys []float64
				for range 120 {
					ys = append(ys, draw(r))
					if len(ys)%4 == 0 && evidence(ys, 0, 1, 120, false) > -math.Log(alpha) {
						wrong++
						break
					}
				}
			}
			if most := alpha*float64(n) + 3*math.Sqrt(alpha*float64(n)); float64(wrong) > most {
				t.Errorf("%d of %d sequences are wrong, more than %.0f", wrong, n, most)
			}
			found := 0
			for range 100 {
				var ys []float64
				for range 120 {
					ys = append(ys, draw(r)+2)
				}
				if evidence(ys, 0, 1, 120, false) > -math.Log(alpha) && evidence(ys, 4, 1, 120, true) > -math.Log(alpha) {
					found++
				}
			}
			if found < 100 {
				t.Errorf("found %d of 100", found)
			}
		})
	}
}

func few(r *rand.Rand, mean float64) int {
	n := 0
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}

// TestOneBlockSaysLittle checks that evidence needs several blocks, however large the
// differences.
func TestOneBlockSaysLittle(t *testing.T) {
	for n, most := range map[int]float64{1: 0.5, 10: 5, 15: 7.5} {
		var ys []float64
		for range n {
			ys = append(ys, 1000)
		}
		if got := evidence(ys, 0, 1, n, false); got > most {
			t.Errorf("%d blocks give %v, more than %v", n, got, most)
		}
	}
}

// TestBaselineIsUsedUp checks that reuse of a short baseline doesn't make false evidence:
// however long a sequence without a difference is watched, none is found in the end.
func TestBaselineIsUsedUp(t *testing.T) {
	const rounds, alpha = 20, 0.02
	for name, draw := range map[string]func(*rand.Rand) float64{
		"normal":      func(r *rand.Rand) float64 { return r.NormFloat64() },
		"heavy tails": func(r *rand.Rand) float64 { return math.Tan(math.Pi * (r.Float64() - 0.5)) },
		"few":         func(r *rand.Rand) float64 { return float64(few(r, 0.3)) },
	} {
		for _, before := range []int{5, 30} {
			r := rand.New(rand.NewPCG(5, 6))
			n, wrong := 200, 0
			for range n {
				var base, ys []float64
				for range before {
					base = append(base, draw(r))
				}
				for i := range before * rounds {
					ys = append(ys, draw(r)-base[i%before])
					if i%before == before-1 && (evidence(ys, 0, 1, before, false) > -math.Log(alpha/2) || evidence(ys, 0, 1, before, true) > -math.Log(alpha/2)) {
						wrong++
						break
					}
				}
			}
			if most := alpha*float64(n) + 3*math.Sqrt(alpha*float64(n)); float64(wrong) > most {
				t.Errorf("%s, %d before: %d of %d are wrong, more than %.0f", name, before, wrong, n, most)
			}
		}
	}
}

// TestMixtureOfAnything checks that the mixture grows with the sum, and is no evidence if
// that is negative.
func TestMixtureOfAnything(t *testing.T) {
	for squares := 0.0; squares < 1000; squares += 7 {
		last := math.Inf(-1)
		for sum := -2000.0; sum < 2000; sum++ {
			got := mixture(sum, squares)
			if math.IsNaN(got) || got < last-2e-2 || sum <= 0 && got > 1e-9 {
				t.Fatalf("mixture(%v, %v) is %v, after %v", sum, squares, got, last)
			}
			last = got
		}
	}
}

func TestRare(t *testing.T) {
	for _, c := range []struct {
		n           int
		time        float64
		seen        int
		elsewhere   float64
		usual       float64
		least, most float64
	}{
		{0, 1, 0, 1, 1, 1, 1},
		{1, 1, 0, 0, 1, 0.499, 0.501},
		{1, 1, 0, 99, 900, 0.0009, 0.0011},
		{2, 120, 0, 2000, 86400, 1e-7, 1e-5},
		{50, 100, 50, 100, 1, 0.4, 0.6},
		{100, 100, 50, 100, 1, 1e-6, 1e-3},
		{1000, 1, 0, 1e9, 1, 0, 1e-100},
	} {
		if got := rare(c.n, c.time, c.seen, c.elsewhere, c.usual); got < c.least || got > c.most {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
