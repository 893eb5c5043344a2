// Package judge is [rollout.SignalsJudge]: it says what Envoys tell of a change.
//
// It stands between a [rollout.Machine], which says whom to watch, and package
// signal, which counts and compares. Start with [New]. It is told what the machine
// tells and is told, and is asked with [Judge.Look]. It has no goroutine, clock or
// connection, and is safe for concurrent use.
//
// Refusals, crashes and restarts are the machine's, which hears of each at once. Of
// crashes and restarts there are curves here, of what the machine is told as well.
package judge

import (
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal"
)

// Counts is what [signal.Counts] does: it keeps what Envoys tell.
type Counts interface {
	Watch(nodes []string, since time.Time)
	Envoy(node string, now time.Time) signal.Envoy
}

// Options are a Judge's givens.
type Options struct {
	Counts Counts
}

// Judge compares the cohorts that a machine has watched.
type Judge struct {
	o Options

	mu      sync.Mutex
	watches []*watch                  // those of what was asked for first come first
	away    map[string]time.Time      // Envoys that are, or were until then
	settled map[string]rollout.Choice // what is in place on Envoys of cohorts, since they are
	anew    times                     // when Envoys came back as new
	crashed times                     // when VMs of theirs crashed
	drawn   []drawn                   // the newest last
}

// New makes a Judge.
func New(o Options) *Judge {
	return &Judge{o: o, away: map[string]time.Time{}, settled: map[string]rollout.Choice{}, anew: times{}, crashed: times{}}
}

// For how long the Envoys of a wave are to be watched before it begins, so that it
// can be told what is new in it: at least, and at most while Known says that it is not
// enough.
const (
	Before     = 2 * time.Minute
	MostBefore = 20 * time.Minute
)

// Look says what the Envoys of a wave tell of a change. While it compares, others
// may go on.
func (j *Judge) Look(now time.Time, l rollout.Look) (rollout.Verdict, string) {
	w, known := j.waveOf(now, l)
	switch {
	case w == nil:
		return "", "" // it has gone on
	case !known:
		return rollout.Unable, "what the wave's Envoys told before it is not known: it began with another server, or too many others were looked at"
	case l.Unable:
		return rollout.Unable, "no Envoy of the wave can be told to tell of its requests: its bootstrap has no RTDS layer"
	}
	return verdictOf(signal.Judge(*w, thresholds(l.Policy)))
}

// Known says whether the Envoys of a wave that is prepared have told enough to compare
// with.
func (j *Judge) Known(now time.Time, l rollout.Look) bool {
	j.mu.Lock()
	i := j.find(l.Change, l.Wave)
	if i < 0 || !j.watches[i].known {
		j.mu.Unlock()
		return true // nor will they tell more
	}
	w := j.wave(j.watches[i], now)
	j.mu.Unlock()
	known, _ := w.Ready(thresholds(l.Policy))
	return known
}

// waveOf is what is known of a wave that has begun, and whether it can be compared;
// nil: it has not begun, or is over.
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

// thresholds are what a policy says of requests.
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

// verdictOf makes one of all tests: bad when one is, good when all are.
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
