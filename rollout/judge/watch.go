package judge

import (
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
	"wasmxds/signal"
)

// watch is the Watch of one wave, with its signals.
type watch struct {
	rollout.Watch
	from  time.Time                 // since when this process observes its Envoys
	began time.Time                 // zero: the wave has not begun
	since map[string]time.Time      // since when each Envoy of New has the change
	told  map[string][]signal.Block // signals of each Envoy from before the wave
	// known reports whether there are signals from before the wave to compare with: this
	// process observed its Envoys then, or those signals were saved.
	known bool

	drawn   *rollout.Curves // at drawnAt
	drawnAt time.Time
}

// watched is how many Envoys of a wave are observed. It is observed at the same time as the
// next one is prepared.
const watched = signal.MaxWatched / 2

// cohort is how many of them have the change.
const cohort = watched / 2

// kept is how long signals are kept for Envoys of waves that have not begun.
const kept = MostBefore + 5*time.Minute

// Watch processes a Watch of a machine. When a wave begins, it returns the signals from
// before it, to be saved; nil: unknown.
func (j *Judge) Watch(now time.Time, w rollout.Watch) (before []byte) {
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
		next := &watch{Watch: w, from: now, since: map[string]time.Time{}}
		var was *watch
		if i < 0 {
			j.watches = append(j.watches, next)
		} else {
			was, j.watches[i] = j.watches[i], next
		}
		// With too many waves at once, some are not observed.
		next.known = len(w.New) == 0 || slices.Contains(j.watched(), w.New[0])
		switch {
		case w.Phase == rollout.Before:
		case was != nil && was.began.IsZero():
			next.from, next.known = was.from, was.known
			before = j.begin(next, now)
		default:
			next.restore(now)
		}
		if !next.began.IsZero() { // Envoys of other replicas may have reported the change before the leader knew
			for _, id := range next.New {
				next.tell(id, j.settled[id], now)
			}
		}
	}
	j.count(now)
	return before
}

// count selects the Envoys whose signals are counted, and forgets what is known of others.
// The caller holds j.mu.
func (j *Judge) count(now time.Time) {
	all, since := j.watched(), now.Add(-kept)
	for _, w := range j.watches {
		if !w.began.IsZero() && w.began.Before(since) {
			since = w.began
		}
	}
	j.o.Counts.Watch(all, since)
	maps.DeleteFunc(j.away, func(id string, _ time.Time) bool { return !slices.Contains(all, id) })
	maps.DeleteFunc(j.settled, func(id string, _ rollout.Choice) bool { return !slices.Contains(all, id) })
	j.anew.only(all)
	j.crashed.only(all)
}

// begin records the signals from before a wave that begins, and encodes them. The caller
// holds j.mu.
func (j *Judge) begin(w *watch, now time.Time) []byte {
	if !w.known {
		w.began = now
		return nil
	}
	before := j.wave(w, now)
	w.began = now
	w.note(before)
	return before.Keep(thresholds(w.Policy).Quantile)
}

// restore decodes the signals from before a wave that began in another process.
func (w *watch) restore(now time.Time) {
	w.began = now
	before, err := signal.Kept(w.Told)
	if w.known = w.known && err == nil; w.known {
		w.began = before.Began
		w.note(before)
	}
}

// note records the signals from before the wave. Those since then are stored elsewhere: of
// long waves not all are kept.
func (w *watch) note(before signal.Wave) {
	w.told = map[string][]signal.Block{}
	for _, e := range slices.Concat(before.New, before.Control) {
		w.told[e.Node] = slices.DeleteFunc(slices.Clone(e.Blocks), func(b signal.Block) bool {
			return b.Start.Add(signal.BlockTime).After(w.began) || w.began.Sub(b.Start) > MostBefore+signal.BlockTime
		})
	}
}

// find returns the index of the watch of a wave, or -1 if the wave is not observed. The
// caller holds j.mu.
func (j *Judge) find(change string, wave int) int {
	return slices.IndexFunc(j.watches, func(w *watch) bool { return w.Change == change && w.Wave == wave })
}

// Watched returns the Envoys that should report their requests.
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

// Tell processes an event of the machine.
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
			j.away[e.ID] = time.Time{} // while it is not back
		}
	case rollout.Restarted:
		delete(j.settled, e.ID)
		if j.compares(e.ID) {
			j.anew.add(e.ID, now)
		}
	case rollout.Crashed:
		if j.compares(e.ID) {
			j.crashed.add(e.ID, now)
		}
	case rollout.Settled:
		if j.compares(e.ID) {
			j.settled[e.ID] = e.Choice
		}
		for _, w := range j.watches {
			if !w.began.IsZero() && slices.Contains(w.New, e.ID) {
				w.tell(e.ID, e.Choice, now)
			}
		}
	}
}

// tell records what is in place on an Envoy of New.
func (w *watch) tell(id string, c rollout.Choice, now time.Time) {
	if !c.Has(w.Change) {
		delete(w.since, id)
	} else if w.since[id].IsZero() {
		w.since[id] = now
	}
}

// compares reports whether an Envoy is in a cohort. The caller holds j.mu.
func (j *Judge) compares(id string) bool {
	return slices.ContainsFunc(j.watches, func(w *watch) bool { return slices.Contains(w.New, id) || slices.Contains(w.Control, id) })
}

// wave returns the signals of a watch. The caller holds j.mu.
func (j *Judge) wave(w *watch, now time.Time) signal.Wave {
	all := signal.Wave{Began: w.began, Now: now}
	if w.began.IsZero() {
		all.Began = now // as if it began now
	}
	for _, id := range w.New {
		e := j.envoy(w, id, now)
		e.Since = w.since[id]
		all.New = append(all.New, e)
	}
	for _, id := range w.Control {
		e := j.envoy(w, id, now)
		// The time when the change came to them can't be judged.
		e.Blocks = slices.DeleteFunc(e.Blocks, func(b signal.Block) bool { return b.Start.Before(w.ControlSince) })
		all.Control = append(all.Control, e)
	}
	return all
}

// envoy returns the signals of an Envoy in a wave. The caller owns its blocks, and holds
// j.mu.
func (j *Judge) envoy(w *watch, id string, now time.Time) signal.Envoy {
	e := j.o.Counts.Envoy(id, now)
	e.Away = e.Away || j.isAway(id, now)
	since, _ := slices.BinarySearchFunc(e.Blocks, w.began.Truncate(signal.BlockTime), func(b signal.Block, at time.Time) int { return b.Start.Compare(at) })
	if w.told == nil {
		since = 0
	}
	e.Blocks = slices.Concat(w.told[id], e.Blocks[since:])
	return e
}

// backFor is how long an Envoy that is back is still treated as away: it sends no signals
// about the time of its absence, and clients may be slow to find it again.
const backFor = time.Minute

// isAway reports whether an Envoy's silence means nothing. The caller holds j.mu.
func (j *Judge) isAway(id string, now time.Time) bool {
	back, was := j.away[id]
	return was && (back.IsZero() || now.Sub(back) < backFor)
}
