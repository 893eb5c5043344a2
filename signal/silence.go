package signal

import "time"

const (
	silentFor  = 30 * time.Second
	silentFrom = 200 // requests that would otherwise have been seen

	// usualSilence is the prior of the test, to which the observed cohorts are added: one
	// Envoy of that many falls silent in a wave without a reason.
	usualSilence = 1e6
	// silenceAlpha is the probability that the test is wrongly bad, in a whole rollout.
	silenceAlpha = 1e-4
)

// silence finds connected Envoys that no longer answer any requests: a filter that never
// returns blocks a worker forever, and no request is logged. One Envoy of many may just
// have been taken out of service.
func (w Wave) silence(a *aligned, t Thresholds) Verdict {
	v := Verdict{Test: "silence", Kind: Good, Words: "all answer requests that did so before"}
	before, now := 0, 0
	for _, s := range a.control {
		before += requestsOf(s.before)
		now += requestsOf(s.after)
	}
	lasted := float64(w.Now.Sub(w.Began) / BlockTime)
	share := 1.0 // of the earlier traffic that there is now
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
	if rare(len(silent), float64(len(w.New)), len(others), float64(len(w.Control)), usualSilence) < silenceAlpha/float64(max(t.Waves, 1)) {
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

// silent reports whether an Envoy that had traffic before the wave has none, for long
// enough to be sure.
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
