package signal

import (
	"fmt"
	"math"
	"slices"
)

// Kind is what a test says.
type Kind uint8

// What a test says: that too little is known, that the change is no worse than
// allowed, that it is.
const (
	None Kind = iota
	Good
	Bad
)

func (k Kind) String() string { return [...]string{"none", "good", "bad"}[k] }

// Verdict is what one test says of a wave.
type Verdict struct {
	Test  string // "silence", "errors", "latency"
	Kind  Kind
	Words string // for people

	// New and Control are what was found since the wave began: a number, a share of
	// requests, or a latency in seconds. Before it they were NewBefore and
	// ControlBefore, for shares and latencies.
	New, Control, NewBefore, ControlBefore float64
	// More is by how much the change made it more, a share, of requests or of
	// latency, and Low and High bound that: the chance that it ever was outside is less
	// than the test's.
	More, Low, High float64
	Requests        int // of the new cohort that were seen since
	// Quiet says of None that with what was seen before the wave, or without
	// requests since, it will never be anything else.
	Quiet bool
}

// severe is how many more errors, however much Limit.More allows, a test of its own
// looks for, in parts of blocks: what fails that often is to be stopped soon.
const severe = 0.5

// surely is the part of what is allowed that a good change is below.
const surely = 1.5

// Judge says what each test that is asked for says. The confidence of the tests
// of errors and latency is that of a whole rollout: the chance that a good change
// is stopped by them in any wave, at any look.
//
// A test is Bad when what it looks for is more than allowed, for sure, and Good
// when it is, for sure, less than half as much again: between these two the sequence
// always narrows to one or the other, and a change that is just as bad as is
// allowed does not wait for ever. All else is None.
//
// How soon they can tell: a test needs some 25 blocks that agree, [BlockTime]
// each, however bad things are; where more than half of all requests fail, 25
// seconds. An Envoy that has
// bursts of errors by itself which last less than a minute never stops a change.
// What lasts longer, and began with the change, is taken for its doing.
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

// errors compares shares of failed requests.
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
		v.Kind = Bad // however wide the bounds still are
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

// latency compares how many requests are slower than the quantile was before,
// which is the test of a quantile by that of a share as in Howard and Ramdas
// (2022), Sequential estimation of quantiles with applications to A/B testing and
// best-arm identification. Whether all have become slower by a factor is whether,
// divided by it, as many are that slow as before. What became slower in control,
// too, is taken off first.
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

// common is by how many buckets the quantile has moved in control since the wave
// began, for most of it.
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

// unitOf is a share of requests that are slower than a quantile that is about
// what a change of latency makes.
func unitOf(p float64) float64 { return 0.1 * math.Sqrt(p*(1-p)) }

// bounds finds, for a test of whether the center is above m or, down, below, the
// largest m that it is above and the smallest that it is below.
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

// search gives the first from low to high for which it is so, if it is so for all
// after one for which it is; high+1 if there is none.
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

// shares are those of failed requests since the wave began and before.
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

// quantiles are those of latency, in seconds.
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
