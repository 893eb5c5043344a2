// Package judge is [rollout.SignalsJudge]: it says what Envoys tell of a change.
//
// It stands between a [rollout.Machine], which says whom to watch, and package
// signal, which counts and compares. Start with [New]. It is told what the machine
// tells and is told, and is asked with [Judge.Look]. It has no goroutine, clock or
// connection, and is safe for concurrent use.
//
// Refusals, crashes and restarts are the machine's, which hears of each at once.
package judge

import (
	"maps"
	"slices"
	"sync"
	"time"

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
	// Able tells whether an Envoy can be told to have requests sampled; nil: all can.
	Able func(node string) bool
}

// Judge compares the cohorts that a machine has watched.
type Judge struct {
	o Options

	mu      sync.Mutex
	watches []*watch               // those of what was asked for first come first
	away    map[string]time.Time   // Envoys that are, or were until then
	anew    map[string][]time.Time // when Envoys came back as new, the newest last
	drawn   []drawn                // the newest last
}

// watch is one wave's.
type watch struct {
	rollout.Watch
	before time.Time            // since when its Envoys are watched, before it; zero: they were not
	began  time.Time            // zero: the wave has not
	since  map[string]time.Time // Envoys of New have had the change
	slow   float64              // the percentile of latency that is looked at, of 1

	drawn   *rollout.Curves // at drawnAt
	drawnAt time.Time
}

// New makes a Judge.
func New(o Options) *Judge {
	return &Judge{o: o, away: map[string]time.Time{}, anew: map[string][]time.Time{}}
}

// watched is how many Envoys of a wave are: it is watched at the same time as the
// next one is prepared.
const watched = signal.MaxWatched / 2

// cohort is how many of them have the change.
const cohort = watched / 2

// For how long the Envoys of a wave are to be watched before it begins, so that it
// can be told what is new in it: at least, and at most while Known says that it is not
// enough.
const (
	Before     = 2 * time.Minute
	MostBefore = 10 * time.Minute
)

// kept is how long what was told is kept, and mostAnew how many restarts of an Envoy.
const (
	kept     = 15 * time.Minute
	mostAnew = 64
)

// Watch takes what a machine says of whom to watch.
func (j *Judge) Watch(now time.Time, w rollout.Watch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w.New = slices.Clone(w.New[:min(len(w.New), cohort)])
	w.Control = slices.Clone(w.Control[:min(len(w.Control), watched-len(w.New))])
	i := j.find(w.Change, w.Wave)
	switch {
	case w.Phase == rollout.After && i < 0:
	case w.Phase == rollout.After:
		j.keepCurves(j.watches[i], now)
		j.watches = slices.Delete(j.watches, i, i+1)
	default:
		next := &watch{Watch: w, since: map[string]time.Time{}, slow: 0.99}
		if i >= 0 {
			next.before = j.watches[i].before
			j.watches[i] = next
		} else {
			j.watches = append(j.watches, next)
		}
		switch {
		case w.Phase == rollout.Before && len(w.New) > 0 && !slices.Contains(j.watched(), w.New[0]):
			// There are too many waves at once: this one is not watched from now on.
		case w.Phase == rollout.Before:
			next.before = now
		default:
			next.began = now
		}
	}
	all := j.watched()
	maps.DeleteFunc(j.away, func(id string, _ time.Time) bool { return !slices.Contains(all, id) })
	maps.DeleteFunc(j.anew, func(id string, _ []time.Time) bool { return !slices.Contains(all, id) })
	j.o.Counts.Watch(all, now.Add(-kept))
}

// find gives the place of a wave among the watches, each of which is of another; -1:
// it is not watched. The caller holds j.mu.
func (j *Judge) find(change string, wave int) int {
	return slices.IndexFunc(j.watches, func(w *watch) bool { return w.Change == change && w.Wave == wave })
}

// Watched are the Envoys that are to tell of requests.
func (j *Judge) Watched() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.watched()
}

func (j *Judge) watched() []string {
	var all []string
	for _, w := range j.watches {
		for _, id := range slices.Concat(w.New, w.Control) {
			if len(all) < signal.MaxWatched && !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// Tell takes what the machine is told, too.
func (j *Judge) Tell(now time.Time, e rollout.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e := e.(type) {
	case rollout.Connected:
		if _, was := j.away[e.Node.ID]; was {
			j.away[e.Node.ID] = now
		}
	case rollout.Gone:
		if j.compares(e.ID) {
			j.away[e.ID] = time.Time{} // for as long as it is not back
		}
	case rollout.Restarted:
		if j.compares(e.ID) {
			at := append(j.anew[e.ID], now)
			j.anew[e.ID] = at[max(0, len(at)-mostAnew):]
		}
	case rollout.Settled:
		for _, w := range j.watches {
			if w.began.IsZero() || !slices.Contains(w.New, e.ID) {
				continue
			}
			if !e.Choice.Has(w.Change) {
				delete(w.since, e.ID)
			} else if w.since[e.ID].IsZero() {
				w.since[e.ID] = now
			}
		}
	}
}

// compares tells whether an Envoy is in a cohort. The caller holds j.mu.
func (j *Judge) compares(id string) bool {
	return slices.ContainsFunc(j.watches, func(w *watch) bool { return slices.Contains(w.New, id) || slices.Contains(w.Control, id) })
}

// Look says what the Envoys of a wave tell of a change. While it compares, others
// may go on.
func (j *Judge) Look(now time.Time, l rollout.Look) (rollout.Verdict, string) {
	w, before := j.waveOf(now, l)
	switch {
	case w == nil:
		return "", "" // it has gone on
	case !before:
		return rollout.Unable, "what the wave's Envoys told before it is not known: it began with another server, or too many others were looked at"
	case j.o.Able != nil && !slices.ContainsFunc(w.New, func(e signal.Envoy) bool { return j.o.Able(e.Node) }):
		return rollout.Unable, "no Envoy of the wave can be told to tell of its requests: its bootstrap has no RTDS layer"
	}
	return verdictOf(signal.Judge(*w, thresholds(l)))
}

// Known says whether the Envoys of a wave that is prepared have told enough to compare
// with.
func (j *Judge) Known(now time.Time, l rollout.Look) bool {
	j.mu.Lock()
	i := j.find(l.Change, l.Wave)
	if i < 0 || j.watches[i].before.IsZero() {
		j.mu.Unlock()
		return true // nor will they tell more
	}
	w := j.wave(j.watches[i], now)
	w.Began = now // if it began now
	j.mu.Unlock()
	known, _ := w.Ready(thresholds(l))
	return known
}

// waveOf is what is known of a wave that has begun, and whether it was watched before;
// nil: it has not begun, or is over.
func (j *Judge) waveOf(now time.Time, l rollout.Look) (w *signal.Wave, before bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.find(l.Change, l.Wave)
	if i < 0 || j.watches[i].began.IsZero() {
		return nil, false
	}
	of := j.watches[i]
	if slow := l.Policy.Stop.Latency.P / 100; slow != of.slow {
		of.slow, of.drawnAt = slow, time.Time{}
	}
	if of.before.IsZero() {
		return &signal.Wave{}, false
	}
	all := j.wave(of, now)
	return &all, true
}

// wave is what is known of one.
func (j *Judge) wave(w *watch, now time.Time) signal.Wave {
	all := signal.Wave{Began: w.began, Now: now}
	for _, id := range w.New {
		e := j.o.Counts.Envoy(id, now)
		e.Since, e.Away = w.since[id], j.isAway(id, now)
		all.New = append(all.New, e)
	}
	for _, id := range w.Control {
		e := j.o.Counts.Envoy(id, now)
		e.Away = j.isAway(id, now)
		// From when the change came to them nothing can be told.
		e.Blocks = slices.DeleteFunc(slices.Clone(e.Blocks), func(b signal.Block) bool { return b.Start.Before(w.ControlSince) })
		all.Control = append(all.Control, e)
	}
	return all
}

// backFor is how long an Envoy that is back counts as away: it is silent of the time
// for which it was, and clients may be slow to find it again.
const backFor = time.Minute

// isAway tells whether an Envoy's silence says nothing. The caller holds j.mu.
func (j *Judge) isAway(id string, now time.Time) bool {
	back, was := j.away[id]
	return was && (back.IsZero() || now.Sub(back) < backFor)
}

// thresholds are what a policy says of requests.
func thresholds(l rollout.Look) signal.Thresholds {
	s, t := l.Policy.Stop, signal.Thresholds{Waves: len(l.Policy.Waves)}
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
