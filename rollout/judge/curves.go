package judge

import (
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
	"wasmxds/signal"
)

// times are when something happened to Envoys, the newest last.
type times map[string][]time.Time

// mostTimes is how many are kept of an Envoy.
const mostTimes = 64

func (t times) add(id string, at time.Time) {
	all := append(t[id], at)
	t[id] = all[max(0, len(all)-mostTimes):]
}

// only forgets all other Envoys.
func (t times) only(ids []string) {
	maps.DeleteFunc(t, func(id string, _ []time.Time) bool { return !slices.Contains(ids, id) })
}

// mostCurves is of how many changes curves are kept that are not watched any more.
const mostCurves = 20

// drawn are the curves of a change that is not watched any more.
type drawn struct {
	change string
	curves *rollout.Curves
}

// Curves are what the cohorts of a change have told, of the wave that it is in or
// was in last; nil: nothing is known.
func (j *Judge) Curves(now time.Time, change string) *rollout.Curves {
	j.mu.Lock()
	defer j.mu.Unlock()
	var newest *watch
	for _, w := range j.watches {
		if w.Change == change && (newest == nil || !w.began.IsZero()) {
			newest = w
		}
	}
	if newest != nil {
		return j.curves(newest, now)
	}
	for i := len(j.drawn) - 1; i >= 0; i-- {
		if j.drawn[i].change == change {
			return j.drawn[i].curves
		}
	}
	return nil
}

// keepCurves keeps those of a wave that is not watched any more. The caller holds
// j.mu.
func (j *Judge) keepCurves(w *watch, now time.Time) {
	if w.began.IsZero() {
		return
	}
	j.drawn = append(j.drawn, drawn{w.Change, j.curves(w, now)})
	j.drawn = j.drawn[max(0, len(j.drawn)-mostCurves):]
}

// curves gives those of a wave. They are drawn anew when another block has ended:
// who asks for a status asks for them, too. The caller holds j.mu.
func (j *Judge) curves(w *watch, now time.Time) *rollout.Curves {
	if at := now.Truncate(signal.BlockTime); !at.Equal(w.drawnAt) {
		w.drawn, w.drawnAt = j.draw(w, now), at
	}
	return w.drawn
}

// draw draws them. The caller holds j.mu.
func (j *Judge) draw(w *watch, now time.Time) *rollout.Curves {
	from := w.from
	if oldest := now.Add(-kept); from.Before(oldest) {
		from = oldest
	}
	from = from.Truncate(signal.BlockTime)
	c := &rollout.Curves{Step: signal.BlockTime, From: from, Began: w.began}
	slow := w.Policy.Stop.Latency.P / 100
	c.New, c.Control = j.points(w.New, from, now, slow), j.points(w.Control, from, now, slow)
	return c
}

// points are what a cohort has told since from, by blocks.
func (j *Judge) points(cohort []string, from, now time.Time, slow float64) []rollout.Point {
	all := make([]rollout.Point, max(0, now.Sub(from)/signal.BlockTime))
	latencies := make([][]signal.Latencies, len(all))
	at := func(t time.Time) int { return int(t.Sub(from) / signal.BlockTime) }
	each := func(happened []time.Time, count func(*rollout.Point)) {
		for _, t := range happened {
			if k := at(t); k < len(all) && !t.Before(from) {
				count(&all[k])
			}
		}
	}
	for _, id := range cohort {
		e := j.o.Counts.Envoy(id, now)
		for i := range e.Blocks {
			b := &e.Blocks[i]
			if k := at(b.Start); k >= 0 && k < len(all) && !b.Start.Before(from) {
				n := b.Count()
				all[k].Requests += float64(n.Requests)
				all[k].Errors += float64(n.Errors)
				latencies[k] = append(latencies[k], b.Latencies)
			}
		}
		each(j.crashed[id], func(p *rollout.Point) { p.Crashes++ })
		each(j.anew[id], func(p *rollout.Point) { p.Restarts++ })
	}
	for k := range all {
		if merged := signal.Merge(latencies[k]...); merged.Count() > 0 {
			all[k].Median = merged.Quantile(0.5).Seconds()
			all[k].Slow = merged.Quantile(slow).Seconds()
		}
	}
	return all
}
