package signal

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestVariances compares the estimated uncertainty of the mean of dependent values with the
// means of many drawn sequences.
func TestVariances(t *testing.T) {
	const n, draws = 200, 2000
	r := rand.New(rand.NewPCG(1, 2))
	for _, keep := range []float64{0, 0.7} { // the share of a value that the next one inherits
		var estimated, of, squares float64
		for range draws {
			xs, x := make([]float64, n), 0.0
			for i := range xs {
				x = keep*x + math.Sqrt(1-keep*keep)*r.NormFloat64()
				xs[i] = x
			}
			estimated += variances(xs, 15) / draws
			of += mean(xs) / draws
			squares += mean(xs) * mean(xs) / draws
		}
		if truth := n * (squares - of*of); estimated < 0.7*truth || estimated > 1.1*truth {
			t.Errorf("where %g is kept: %.2f, want about %.2f", keep, estimated, truth)
		}
	}
}

// TestInTheEnd checks that a verdict becomes more likely the longer Envoys are watched, and
// less likely after disturbances just before.
func TestInTheEnd(t *testing.T) {
	const unit = 0.01
	sure := func(blocks int, errors func(i int) uint32) float64 {
		a := aligned{new: make([]series, 1), control: make([]series, 1), before: blocks}
		for i := range blocks {
			for _, of := range []struct {
				s      *series
				errors uint32
			}{{&a.new[0], errors(i)}, {&a.control[0], 10}} {
				b := &Block{}
				b.Parts[0] = Count{Requests: 1000, Errors: of.errors}
				of.s.before = append(of.s.before, b)
			}
		}
		return a.inTheEnd(unit, failures)
	}
	need := needed(0.001 / 4)
	noise := func(i int) uint32 { return []uint32{0, 20, 5, 15}[i%4] }
	burst := func(i int) uint32 {
		if i >= 20 && i < 30 {
			return 100
		}
		return noise(i)
	}
	for _, c := range []struct {
		name   string
		blocks int
		errors func(int) uint32
		want   bool
	}{
		{"calm", 60, noise, true},
		{"calm, and short", 10, noise, false},
		{"a burst", 60, burst, false},
		{"a burst, and long", 300, burst, true},
		{"nothing is known", 0, noise, false},
	} {
		if got := sure(c.blocks, c.errors); (got > need) != c.want {
			t.Errorf("%s: evidence %.1f of %.1f, want enough: %v", c.name, got, need, c.want)
		}
	}
}
