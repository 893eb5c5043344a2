package pipeline

import (
	"context"
	"slices"
	"time"

	"wasmxds/queue"
	"wasmxds/rollout"
	"wasmxds/trace"
)

// news is what has happened to changes, in order, until it is in traces. Who
// moves changes must not wait for that, as it is asked for the whole of a change
// that has ended.
type news struct{ queue *queue.Queue[rolloutNews] }

type rolloutNews struct {
	rollout.Told
	at time.Time
}

func newNews() *news { return &news{queue.New[rolloutNews]()} }

// add never waits.
func (n *news) add(t rollout.Told) { n.queue.Add(rolloutNews{t, time.Now()}) }

// told is told what happens to changes by who moves them, which it does not hold
// up.
func (p *Pipeline) told(t rollout.Told) {
	p.Admin.RolloutTold(t)
	p.news.add(t)
}

// run has it traced, until ctx ends.
func (n *news) run(ctx context.Context, tracer *trace.Tracer, status func(context.Context) (rollout.Status, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.queue.Some():
		}
		for _, t := range n.queue.Take() {
			if tracer == nil || t.Change == "" {
				continue
			}
			tracer.Tell(trace.Telling{ID: t.Change, Words: t.Words, At: t.at})
			if !hasEnded(t.Told) {
				continue
			}
			if st, err := status(ctx); err == nil {
				traceRollout(tracer, st, t.Told)
			}
		}
	}
}

// hasEnded says whether a change has just come to its end.
func hasEnded(t rollout.Told) bool {
	return t.State == rollout.Done || t.State == rollout.Superseded || t.State == rollout.Stopped && t.Cause != ""
}

// traceRollout tells the whole of a change that went in waves.
func traceRollout(tracer *trace.Tracer, st rollout.Status, t rollout.Told) {
	i := slices.IndexFunc(st.Changes, func(c rollout.ChangeStatus) bool { return c.ID == t.Change && c.State == t.State })
	if i < 0 || st.Changes[i].Policy == "" {
		return // the trace of the change itself has all that there is
	}
	c := &st.Changes[i]
	r := trace.Rollout{
		ID: c.ID, Title: c.Title, Policy: c.Policy, State: string(c.State), Opened: c.Opened, Ended: c.Ended, Envoys: c.Concerned,
	}
	if c.State == rollout.Stopped {
		r.Failed = c.Reason
	}
	for _, w := range c.Waves {
		if !w.Began.IsZero() {
			r.Waves = append(r.Waves, trace.Wave{Name: w.Name, Envoys: w.Envoys, Began: w.Began, Good: w.Good, Ended: w.Ended})
		}
	}
	for _, v := range c.Judges {
		r.Verdicts = append(r.Verdicts, trace.Verdict{Judge: v.Judge, Verdict: string(v.Verdict), Words: v.Words})
	}
	tracer.RolledOut(r)
}
