package admin

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestChart(t *testing.T) {
	at := func(s ...int) (all []time.Time) {
		for _, n := range s {
			all = append(all, noon.Add(time.Duration(n)*time.Second))
		}
		return all
	}
	none := math.NaN()
	c := newChart("5xx", noon, noon.Add(100*time.Second), percent, 0.01,
		series{"new", "new", at(0, 50, 100), []float64{0, 0.015, 0.02}},
		series{"control", "control", at(0, 25, 50, 75, 200), []float64{0.001, none, 0.001, 0.5, none}},
		series{"quiet", "quiet", at(10), []float64{none}})
	c.mark(noon.Add(10*time.Second), "wave 1")
	c.mark(noon.Add(-time.Second), "before")
	if c.Top != "50 %" {
		t.Errorf("the upper edge is %s", c.Top)
	}
	for i, want := range []string{"M0 100h0L150 97L300 96", "M0 99.8h0M150 99.8h0L225 0", ""} {
		if got := c.Lines[i].Path; got != want {
			t.Errorf("line %d: %s, want %s", i, got, want)
		}
	}
	if want := "5xx at the end: new 2 %, control 50 %, quiet unknown"; c.Words != want {
		t.Errorf("%s, want %s", c.Words, want)
	}
	if len(c.Marks) != 1 || c.Marks[0] != (mark{"30", "wave 1"}) {
		t.Errorf("marks %v", c.Marks)
	}
}

// TestChartOfOddValues checks that any reported values are drawn within the
// picture.
func TestChartOfOddValues(t *testing.T) {
	for _, values := range [][]float64{{}, {math.Inf(1)}, {-1}, {math.MaxFloat64}, {math.SmallestNonzeroFloat64}, {math.NaN(), math.Inf(-1)}} {
		at := make([]time.Time, len(values))
		for i := range at {
			at[i] = noon
		}
		for _, to := range []time.Time{noon, noon.Add(time.Second), noon.Add(-time.Second)} {
			c := newChart("x", noon, to, count, 1, series{Name: "new", At: at, Values: values})
			if p := c.Lines[0].Path; strings.ContainsAny(p, "NIe-") {
				t.Errorf("%v: %s", values, p)
			}
		}
	}
}

// TestThinnedChartHidesNoPeak checks that the one high value among thousands is
// still drawn.
func TestThinnedChartHidesNoPeak(t *testing.T) {
	const n = 10_007
	at, values := make([]time.Time, n), make([]float64, n)
	for i := range n {
		at[i] = noon.Add(time.Duration(i) * time.Second)
	}
	for _, peak := range []int{0, 1, 5003, n - 1} {
		clear(values)
		values[peak] = 7
		thinAt, thinned := thin(at, values, 100)
		found := false
		for i, v := range thinned {
			found = found || v == 7 && thinAt[i].Equal(at[peak])
		}
		if len(thinned) != 100 || !found {
			t.Errorf("%d points, peak at %d is there: %v", len(thinned), peak, found)
		}
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		percent(0): "0 %", percent(0.00001): "< 0.01 %", percent(0.001): "0.1 %", percent(0.0123): "1.23 %", percent(0.5): "50 %", percent(1): "100 %",
		milliseconds(0.25): "0.25 ms", milliseconds(5): "5 ms", milliseconds(12.6): "13 ms", milliseconds(1500): "1.5 s", milliseconds(25_000): "25 s",
		count(3): "3",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for v, want := range map[float64]float64{0: 1, 0.012: 0.02, 1: 1, 1.1: 2, 3: 5, 7: 10, 50: 50, 51: 100} {
		if got := roundUp(v); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}
