package pipeline

import (
	"context"
	"slices"
	"time"

	"wasmxds/queue"
	"wasmxds/rollout"
	"wasmxds/trace"
)

// news queues events of changes, in order, until they are traced. The goroutine
// that moves changes must not wait for tracing, which queries it for all
// details of a change that has ended.
type news struct{ queue *queue.Queue[rolloutNews] }

type rolloutNews struct {
	rollout.Told
	at time.Time
}

func newNews() *news { return &news{queue.New[rolloutNews](0)} }

// add never blocks.
func (n *news) add(t rollout.Told) { n.queue.Add(rolloutNews{t, time.Now()}) }

// told handles an event of a change, without blocking the goroutine that moves
// changes.
func (p *Pipeline) told(t rollout.Told) {
	p.Admin.RolloutTold(t)
	p.news.add(t)
}

// run traces events until ctx ends.
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

// hasEnded reports whether a change has just ended.
func hasEnded(t rollout.Told) bool {
	return t.State == rollout.Done || t.State == rollout.Superseded || t.State == rollout.Stopped && t.Cause != ""
}

// traceRollout traces a whole change that had a policy.
func traceRollout(tracer *trace.Tracer, st rollout.Status, t rollout.Told) {
	i := slices.IndexFunc(st.Changes, func(c rollout.ChangeStatus) bool { return c.ID == t.Change && c.State == t.State })
	if i < 0 || st.Changes[i].Policy == "" {
		return // the trace of the change itself is complete
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
