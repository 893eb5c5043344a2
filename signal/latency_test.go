package signal

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreRightToAPercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 20_000 {
		all = append(all, time.Duration(5e6*math.Exp(r.NormFloat64())))
	}
	l := Merge(NewLatencies(all[:7000]...), Latencies{}, NewLatencies(all[7000:]...))
	slices.Sort(all)
	if l.Count() != len(all) {
		t.Fatalf("%d of %d counted", l.Count(), len(all))
	}
	for _, p := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(math.Ceil(p*float64(len(all))))-1]
		if got := l.Quantile(p); math.Abs(float64(got-want)) > 0.022*float64(want) {
			t.Errorf("p%v is %v, want %v", 100*p, got, want)
		}
	}
	for _, d := range []time.Duration{time.Millisecond, 5 * time.Millisecond, time.Second} {
		want := 0
		for _, x := range all {
			if bucket(x) > bucket(d) {
				want++
			}
		}
		if got := l.above(int(bucket(d))); got != want {
			t.Errorf("%d are above %v, want %d", got, d, want)
		}
	}
	if l.above(-5) != len(all) || l.above(buckets+100) != 0 {
		t.Error("beyond all buckets")
	}
}

func TestLatenciesAtTheEnds(t *testing.T) {
	l := NewLatencies(-time.Second, 0, time.Nanosecond, time.Hour)
	if l.Count() != 4 || l.Quantile(0.5) > 17*time.Microsecond || l.Quantile(1) < time.Minute {
		t.Errorf("%d, p50 %v, p100 %v", l.Count(), l.Quantile(0.5), l.Quantile(1))
	}
	if (Latencies{}).Quantile(0.5) != 0 {
		t.Error("none have a quantile")
	}
}

// TestSlowerIsFurther checks that being slower by a share means being a fixed number of
// buckets higher, which the latency test relies on.
func TestSlowerIsFurther(t *testing.T) {
	for _, more := range []float64{0.01, 0.25, 1} {
		f := further(more)
		if got := factor(f) - 1; got < more-1e-9 || got > more+0.05 {
			t.Errorf("%d buckets are %v more, want %v", f, got, more)
		}
		for _, d := range []time.Duration{time.Millisecond, 33 * time.Millisecond, 2 * time.Second} {
			slow := time.Duration(float64(d) * factor(f) * (1 + 1e-9))
			if got := int(bucket(slow)) - int(bucket(d)); got != f {
				t.Errorf("%v is %d buckets after %v, want %d", slow, got, d, f)
			}
		}
	}
}
