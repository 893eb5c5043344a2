package signal

import (
	"fmt"
	"math"
	"slices"
)

// Kind is the result of a test.
type Kind uint8

// The results of a test: too little is known, the change is no worse than allowed, or it
// is.
const (
	None Kind = iota
	Good
	Bad
)

func (k Kind) String() string { return [...]string{"none", "good", "bad"}[k] }

// Verdict is the result of one test of a wave.
type Verdict struct {
	Test  string // "silence", "errors", "latency"
	Kind  Kind
	Words string // for people

	// New and Control are the values since the wave began: a number, a share of requests,
	// or a latency in seconds. NewBefore and ControlBefore are the values before it, for
	// shares and latencies.
	New, Control, NewBefore, ControlBefore float64
	// More is by how much the change increased the value, as a share of requests or of
	// latency. Low and High are its bounds: the probability that they ever exclude it is
	// less than that of the test.
	More, Low, High float64
	Requests        int // requests of the new cohort since the wave began
	// Quiet means, for None, that the result can never change, because of what was seen
	// before the wave, or because no requests were seen since.
	Quiet bool
}

// severe is the increase in errors, regardless of Limit.More, that a separate test looks
// for, in parts of blocks, because a change that fails that often must be stopped soon.
const severe = 0.5

// surely is the multiple of the allowed increase that a good change stays below.
const surely = 1.5

// Judge returns the results of all tests that t enables. The confidence of the tests of
// errors and latency applies to a whole rollout: it bounds the probability that they stop a
// good change in any wave, at any look.
//
// A test is Bad if the increase certainly exceeds what is allowed, and Good if it is
// certainly less than one and a half times that. The bounds always narrow until one of
// these applies, so that even a change that is exactly as bad as allowed does not wait
// forever. Otherwise the result is None.
//
// A test needs about 25 blocks of [BlockTime] that agree, however bad things are, or 25
// seconds if more than half of all requests fail. An Envoy with bursts of errors of its own
// that last less than a minute never stops a change. A longer increase that began with the
// change is attributed to it.
func Judge(w Wave, t Thresholds) []Verdict {
	if t.tests() == 0 {
		return nil
	}
	a := w.align(t.Latency.More > 0)
	all := []Verdict{w.silence(&a, t)}
	if t.Errors.More > 0 {
		all = append(all, a.errors(t))
	}
	if t.Latency.More > 0 {
		all = append(all, a.latency(t))
	}
	return all
}

// errors compares the shares of failed requests.
func (a *aligned) errors(t Thresholds) Verdict {
	v := Verdict{Test: "errors"}
	v.New, v.NewBefore, v.Requests = shares(a.new)
	v.Control, v.ControlBefore, _ = shares(a.control)
	limit, alpha := t.Errors, t.alpha(t.Errors.Confidence)
	g := a.gridOf(limit.More, false)
	ys := a.differences(g, failures, failures)
	v.More = mean(ys)
	if !a.enough(&v, ys) {
		return v
	}
	v.Quiet = mixture(float64(g.cells(a.before)), float64(g.cells(a.before))/3) < needed(alpha*0.8)
	test := func(m float64, down bool) bool {
		return evidence(ys, m, limit.More, g.cells(a.before), down) > needed(alpha*0.8)
	}
	v.Low, v.High = bounds(v.More, limit.More, test)
	hard := max(severe, 5*limit.More)
	soon := a.gridOf(hard, true)
	sooner := a.differences(soon, failures, failures)
	switch {
	case evidence(sooner, hard, hard, soon.cells(a.before), false) > needed(alpha*0.2):
		v.Kind = Bad // even if the bounds are still wide
	case v.Low > limit.More:
		v.Kind = Bad
	case v.High < surely*limit.More:
		v.Kind = Good
	}
	v.Quiet = v.Quiet && v.Kind == None
	v.Words = fmt.Sprintf("%s of requests fail, %s before", percent(v.New), percent(v.NewBefore)) +
		a.elsewhere(percent(v.Control), percent(v.ControlBefore)) + ": " + v.found(points(v.More), percent, limit.More)
	return v
}

// latency compares how many requests are slower than the quantile was before. This reduces
// the test of a quantile to that of a share, as in Howard and Ramdas (2022), Sequential
// estimation of quantiles with applications to A/B testing and best-arm identification. All
// requests have become slower by a factor if, divided by that factor, as many as before are
// slower than the quantile. An increase that control shows as well is subtracted first.
func (a *aligned) latency(t Thresholds) Verdict {
	v := Verdict{Test: "latency"}
	p, limit, alpha := t.Quantile, t.Latency, t.alpha(t.Latency.Confidence)
	v.New, v.NewBefore, v.Requests = quantiles(a.new, p)
	v.Control, v.ControlBefore, _ = quantiles(a.control, p)
	unit := unitOf(p)
	a.setQuantile(p)
	common := a.common(p)
	same := slower(common)
	g := a.gridOf(unit, false)
	known := map[int][]float64{}
	differences := func(buckets int) []float64 {
		if known[buckets] == nil {
			known[buckets] = a.differences(g, slower(buckets+common), same)
		}
		return known[buckets]
	}
	allowed := further(limit.More)
	ys := differences(allowed)
	if !a.enough(&v, ys) {
		return v
	}
	need := needed(alpha)
	v.Quiet = mixture(float64(g.cells(a.before)), float64(g.cells(a.before))/3) < need
	above := func(buckets int) bool {
		return evidence(differences(buckets), 0, unit, g.cells(a.before), false) > need
	}
	below := func(buckets int) bool { return evidence(differences(buckets), 0, unit, g.cells(a.before), true) > need }
	const most = 3 * perOctave // eight times
	low := search(-most, most, func(b int) bool { return !above(b) }) - 1
	high := search(-most, most, below)
	middle := search(-most, most, func(b int) bool { return mean(differences(b)) <= 0 })
	v.Low, v.High, v.More = factor(low)-1, factor(high)-1, factor(middle)-1
	switch {
	case low >= allowed:
		v.Kind = Bad
	case high <= int(surely*float64(allowed)):
		v.Kind = Good
	}
	v.Quiet = v.Quiet && v.Kind == None
	v.Words = fmt.Sprintf("p%g is %s, %s before", 100*p, seconds(v.New), seconds(v.NewBefore)) +
		a.elsewhere(seconds(v.Control), seconds(v.ControlBefore)) + ": " + v.found(slowerBy(v.More), percent, limit.More)
	return v
}

// common returns the number of buckets by which the quantile has moved since the wave began
// for the median Envoy of control.
func (a *aligned) common(p float64) int {
	var moved []int
	for _, s := range a.control {
		var all []Latencies
		for _, b := range s.after {
			if b != nil {
				all = append(all, b.Latencies)
			}
		}
		if after := Merge(all...); after.Count() >= enoughFor(p) && s.comparable {
			moved = append(moved, after.bucketAt(p)-s.at)
		}
	}
	if len(moved) == 0 {
		return 0
	}
	slices.Sort(moved)
	return moved[len(moved)/2]
}

// unitOf returns the share of requests that a relevant change of latency moves across the
// quantile p, approximately.
func unitOf(p float64) float64 { return 0.1 * math.Sqrt(p*(1-p)) }

// bounds returns the largest m that the center is above, and the smallest m that it is
// below, according to test, whose argument down selects the direction.
func bounds(from, unit float64, test func(m float64, down bool) bool) (low, high float64) {
	find := func(direction float64, down bool) float64 {
		near, far := 0.0, 2.0
		for range 24 {
			middle := (near + far) / 2
			if test(from+direction*middle, down) {
				far = middle
			} else {
				near = middle
			}
			if far-near < unit/100 {
				break
			}
		}
		return min(max(from+direction*far, -1), 1)
	}
	return find(-1, false), find(1, true)
}

// search returns the first value from low to high for which so is true, if so stays true
// from there on, or high+1 if there is none.
func search(low, high int, so func(int) bool) int {
	for low <= high {
		middle := low + (high-low)/2
		if so(middle) {
			high = middle - 1
		} else {
			low = middle + 1
		}
	}
	return low
}

func mean(ys []float64) float64 {
	sum, n := 0.0, 0
	for _, y := range ys {
		if !math.IsNaN(y) {
			sum, n = sum+y, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// shares returns the shares of failed requests since the wave began and before.
func shares(cohort []series) (after, before float64, requests int) {
	var c, was Count
	add := func(to *Count, blocks []*Block) {
		for _, b := range blocks {
			if b != nil {
				n := b.Count()
				to.Requests += n.Requests
				to.Errors += n.Errors
			}
		}
	}
	for _, s := range cohort {
		add(&was, s.before)
		add(&c, s.after[min(s.since, len(s.after)):])
	}
	share := func(c Count) float64 { return float64(c.Errors) / float64(max(c.Requests, 1)) }
	return share(c), share(was), int(c.Requests)
}

// quantiles returns quantiles of latency, in seconds.
func quantiles(cohort []series, p float64) (after, before float64, requests int) {
	var all, was []Latencies
	for _, s := range cohort {
		was = append(was, s.baseline)
		for _, b := range s.after[min(s.since, len(s.after)):] {
			if b != nil {
				all = append(all, b.Latencies)
			}
		}
	}
	merged := Merge(all...)
	return merged.Quantile(p).Seconds(), Merge(was...).Quantile(p).Seconds(), merged.Count()
}
