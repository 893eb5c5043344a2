package signal

import (
	"fmt"
	"time"
)

// What Envoys do by themselves, now and then. It is where the tests of events
// begin; what the cohorts do is added to it.
const (
	day          = 24 * time.Hour
	usualRestart = day      // of an Envoy, in Envoy time
	usualSilence = 1e6      // Envoys of which one falls silent in a wave
	usualCrash   = 30 * day // of an Envoy

	// eventAlpha is the chance that a test of events is bad by accident, of a whole
	// rollout.
	eventAlpha = 1e-4
)

func (t Thresholds) eventAlpha() float64 { return eventAlpha / float64(max(t.Waves, 1)) }

// refused counts Envoys that refuse the change. Nothing else makes them do that.
func (w Wave) refused(t Thresholds) Verdict {
	v := Verdict{Test: "refused", Kind: Good, Words: "no Envoy refuses it"}
	var names []string
	for _, e := range w.New {
		if e.Refused {
			names = append(names, e.Node)
		}
	}
	if v.New = float64(len(names)); len(names) > 0 {
		v.Words = "refused by " + list(names)
	}
	if len(names) >= t.Refused {
		v.Kind = Bad
	}
	return v
}

// crashes counts VMs that crashed. If none did before the wave, nor in control,
// none is expected, and each counts. Else it must be more than chance, too.
func (w Wave) crashes(t Thresholds) Verdict {
	v := Verdict{Test: "crashes", Kind: Good, Words: "no VM has crashed"}
	var names []string
	before := 0
	for _, e := range w.New {
		for _, at := range e.Crashes {
			if at.Before(w.Began) {
				before++
			}
		}
		if n := crashesSince(e, w.Began); n > 0 {
			v.New += float64(n)
			names = append(names, e.Node)
		}
	}
	for _, e := range w.Control {
		v.Control += float64(crashesSince(e, w.Began))
	}
	elsewhere := 0.0
	if len(w.Control) > 0 {
		elsewhere = v.Control * float64(len(w.New)) / float64(len(w.Control))
	}
	if v.New > 0 {
		v.Words = fmt.Sprintf("%s on %s; where the change is not, %s", times("crash", v.New), list(names), times("crash", v.Control))
	}
	if v.New-elsewhere >= float64(t.Crashes) &&
		(before+int(v.Control) == 0 || w.chance(int(v.New), before+int(v.Control), usualCrash) < t.eventAlpha()) {
		v.Kind = Bad
	}
	return v
}

func crashesSince(e Envoy, since time.Time) int {
	n := 0
	for _, at := range e.Crashes {
		if !at.Before(since) {
			n++
		}
	}
	return n
}

// chance is that of as many events in the new cohort, where so many were seen
// elsewhere.
func (w Wave) chance(n, elsewhere int, usual time.Duration) float64 {
	lasted := max(w.Now.Sub(w.Began).Seconds(), 1)
	return rare(n, float64(len(w.New))*lasted, elsewhere, float64(len(w.Control))*lasted, usual.Seconds())
}

// restarts counts Envoys that came back as new. Envoys are restarted for many
// reasons, so it must be more than chance: for one Envoy two restarts are.
func (w Wave) restarts(t Thresholds) Verdict {
	v := Verdict{Test: "restarts", Kind: Good, Words: "no Envoy was restarted"}
	var names []string
	for _, e := range w.New {
		if e.Restarts > 0 {
			v.New += float64(e.Restarts)
			names = append(names, e.Node)
		}
	}
	for _, e := range w.Control {
		v.Control += float64(e.Restarts)
	}
	if v.New > 0 {
		v.Words = fmt.Sprintf("%s of %s; where the change is not, %s", times("restart", v.New), list(names), times("restart", v.Control))
	}
	if int(v.New) >= t.Restarts && w.chance(int(v.New), int(v.Control), usualRestart) < t.eventAlpha() {
		v.Kind = Bad
	}
	return v
}

const (
	silentFor  = 30 * time.Second
	silentFrom = 200 // requests that would have been seen
)

// silence finds Envoys that answer nothing any more, though they are connected: a
// filter that never returns holds a worker for good, and tells of no request. One
// Envoy of many may have been taken out of service.
func (w Wave) silence(a *aligned, t Thresholds) Verdict {
	v := Verdict{Test: "silence", Kind: Good, Words: "all answer requests that did so before"}
	before, now := 0, 0
	for _, s := range a.control {
		before += requestsOf(s.before)
		now += requestsOf(s.after)
	}
	lasted := float64(w.Now.Sub(w.Began) / BlockTime)
	share := 1.0 // of the traffic before that there is now
	if before > 0 && lasted > 0 {
		share = min(float64(now)/float64(before)*float64(a.before)/lasted, 1)
	}
	names := func(cohort []series) (all []string) {
		for i := range cohort {
			if s := &cohort[i]; !s.of.Away && w.silent(s, share) {
				all = append(all, s.of.Node)
			}
		}
		return all
	}
	silent, others := names(a.new), names(a.control)
	v.New, v.Control = float64(len(silent)), float64(len(others))
	if v.New == 0 {
		return v
	}
	v.Words = "for half a minute and more no request was answered on " + list(silent)
	if rare(len(silent), float64(len(w.New)), len(others), float64(len(w.Control)), usualSilence) < t.eventAlpha() {
		v.Kind = Bad
	}
	return v
}

func requestsOf(blocks []*Block) int {
	n := 0
	for _, b := range blocks {
		if b != nil {
			n += int(b.Count().Requests)
		}
	}
	return n
}

// silent tells whether an Envoy that had traffic before the wave has none, for as
// long as it takes to be sure.
func (w Wave) silent(s *series, share float64) bool {
	was := requestsOf(s.before)
	if was == 0 {
		return false
	}
	rate := float64(was) / (float64(len(s.before)) * BlockTime.Seconds())
	last := w.Began
	for _, b := range s.after {
		if b != nil && b.Count().Requests > 0 {
			last = b.Start.Add(BlockTime)
		}
	}
	quiet := w.Now.Sub(last)
	return quiet >= silentFor && quiet.Seconds()*rate*share >= silentFrom
}
