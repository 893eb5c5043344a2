package judge

import (
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
	"wasmxds/signal"
)

// times are the times of events, by Envoy, the newest last.
type times map[string][]time.Time

// mostTimes is how many are kept per Envoy.
const mostTimes = 64

func (t times) add(id string, at time.Time) {
	all := append(t[id], at)
	t[id] = all[max(0, len(all)-mostTimes):]
}

// only forgets all Envoys except for ids.
func (t times) only(ids []string) {
	maps.DeleteFunc(t, func(id string, _ []time.Time) bool { return !slices.Contains(ids, id) })
}

// mostCurves is for how many changes that are no longer observed curves are kept.
const mostCurves = 20

// drawn are the curves of a change that is no longer observed.
type drawn struct {
	change string
	curves *rollout.Curves
}

// Curves returns the signals of the cohorts of a change over time, in its current or last
// wave; nil: nothing is known.
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

// keepCurves keeps the curves of a wave that is no longer observed. The caller holds j.mu.
func (j *Judge) keepCurves(w *watch, now time.Time) {
	if w.began.IsZero() {
		return
	}
	j.drawn = append(j.drawn, drawn{w.Change, j.curves(w, now)})
	j.drawn = j.drawn[max(0, len(j.drawn)-mostCurves):]
}

// curves returns the curves of a wave. They are computed once per block, because each
// request for the status includes them. The caller holds j.mu.
func (j *Judge) curves(w *watch, now time.Time) *rollout.Curves {
	if at := now.Truncate(signal.BlockTime); !at.Equal(w.drawnAt) {
		w.drawn, w.drawnAt = j.draw(w, now), at
	}
	return w.drawn
}

// draw computes the curves of a wave. The caller holds j.mu.
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

// points returns the signals of a cohort since from, by block.
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
