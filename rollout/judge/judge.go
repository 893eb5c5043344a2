// Package judge implements [rollout.SignalsJudge]: it judges a change by the Envoys'
// signals.
//
// It connects a [rollout.Machine], which selects the Envoys to observe, with package
// signal, which counts and compares. Start with [New]. It receives the inputs and outputs
// of the machine, and [Judge.Look] returns its verdict. It has no goroutine, clock or
// connection, and is safe for concurrent use.
//
// The machine itself judges rejections, crashes and restarts, each at once. This package
// only computes curves of crashes and restarts, from the events of the machine.
package judge

import (
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal"
)

// Counts is the interface of [signal.Counts], which stores the Envoys' signals.
type Counts interface {
	Watch(nodes []string, since time.Time)
	Envoy(node string, now time.Time) signal.Envoy
}

// Options configure a Judge.
type Options struct {
	Counts Counts
}

// Judge compares the cohorts that a machine observes.
type Judge struct {
	o Options

	mu      sync.Mutex
	watches []*watch                  // in the order in which they were requested
	away    map[string]time.Time      // Envoys that are away (zero), or when they came back
	settled map[string]rollout.Choice // the choice in place on each Envoy of a cohort, since it is in one
	anew    times                     // when Envoys restarted
	crashed times                     // when VMs of Envoys crashed
	drawn   []drawn                   // newest last
}

// New returns a Judge.
func New(o Options) *Judge {
	return &Judge{o: o, away: map[string]time.Time{}, settled: map[string]rollout.Choice{}, anew: times{}, crashed: times{}}
}

// How long the Envoys of a wave are observed before it begins, so that changes in their
// signals can be recognized: at least Before, and at most MostBefore while Known returns
// false.
const (
	Before     = 2 * time.Minute
	MostBefore = 20 * time.Minute
)

// Look returns the verdict on a wave, from its Envoys' signals. It does not hold the lock
// while it compares.
func (j *Judge) Look(now time.Time, l rollout.Look) (rollout.Verdict, string) {
	w, known := j.waveOf(now, l)
	switch {
	case w == nil:
		return "", "" // it has ended
	case !known:
		return rollout.Unable, "what the wave's Envoys told before it is not known: it began with another server, or too many others were looked at"
	case l.Unable:
		return rollout.Unable, "no Envoy of the wave can be told to tell of its requests: its bootstrap has no RTDS layer"
	}
	return verdictOf(signal.Judge(*w, thresholds(l.Policy)))
}

// Known reports whether the Envoys of a wave that is prepared have sent enough signals to
// compare with.
func (j *Judge) Known(now time.Time, l rollout.Look) bool {
	j.mu.Lock()
	i := j.find(l.Change, l.Wave)
	if i < 0 || !j.watches[i].known {
		j.mu.Unlock()
		return true // they will not send more
	}
	w := j.wave(j.watches[i], now)
	j.mu.Unlock()
	known, _ := w.Ready(thresholds(l.Policy))
	return known
}

// waveOf returns the signals of a wave that has begun, and whether they can be compared. It
// returns nil if the wave has not begun, or has ended.
func (j *Judge) waveOf(now time.Time, l rollout.Look) (w *signal.Wave, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.find(l.Change, l.Wave)
	if i < 0 || j.watches[i].began.IsZero() {
		return nil, false
	}
	of := j.watches[i]
	if !of.known {
		return &signal.Wave{}, false
	}
	all := j.wave(of, now)
	return &all, true
}

// thresholds returns the thresholds of a policy.
func thresholds(p *definition.Rollout) signal.Thresholds {
	s, t := p.Stop, signal.Thresholds{Waves: len(p.Waves)}
	if !s.Errors.Off() {
		t.Errors = signal.Limit{More: s.Errors.More, Confidence: s.Errors.Confidence}
	}
	if !s.Latency.Off() {
		t.Latency, t.Quantile = signal.Limit{More: s.Latency.More, Confidence: s.Latency.Confidence}, s.Latency.P/100
	}
	return t
}

// verdictOf combines the results of all tests: it is Bad if one is, and Good if all are.
func verdictOf(all []signal.Verdict) (rollout.Verdict, string) {
	verdict, words := rollout.Good, ""
	for _, v := range all {
		switch {
		case v.Kind == signal.Bad:
			return rollout.Bad, v.Words
		case v.Kind == signal.None && !v.Quiet && verdict != rollout.Unsure:
			verdict, words = rollout.Unsure, v.Words
		case v.Kind == signal.None && verdict == rollout.Good:
			verdict, words = rollout.NoTraffic, v.Words
		case v.Kind == signal.Good && verdict == rollout.Good && v.Test != "silence":
			words = join(words, v.Words)
		}
	}
	return verdict, words
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
