package trace

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"
)

// Rollout is a change that went in waves and has ended.
type Rollout struct {
	ID, Title, Policy string
	State             string // final state
	Failed            string // why it was stopped; "": it was not
	Opened, Ended     time.Time
	Envoys            int // number that it was for
	Waves             []Wave
	Verdicts          []Verdict // of the last wave
}

// Wave is a wave that has begun.
type Wave struct {
	Name               string
	Envoys             int       // number that have the change then
	Began, Good, Ended time.Time // Good: since when all of them run it; zero: they did not, or it did not end
}

// Verdict is the last verdict of a judge.
type Verdict struct{ Judge, Verdict, Words string }

// Telling is an event of a change.
type Telling struct {
	ID    string // of the change
	Words string
	At    time.Time
}

// Limits of the events that are kept until a rollout ends.
const (
	maxRollouts = 64
	maxTellings = 64
)

// Tell records an event for the trace of its rollout, which is written when that ends.
func (t *Tracer) Tell(s Telling) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.rollouts, func(r *told) bool { return r.id == s.ID })
	if i < 0 {
		if len(t.rollouts) == maxRollouts {
			t.rollouts = slices.Delete(t.rollouts, 0, 1)
		}
		t.rollouts, i = append(t.rollouts, &told{id: s.ID}), len(t.rollouts)
	}
	r := t.rollouts[i]
	if len(r.tellings) == maxTellings {
		r.tellings = slices.Delete(r.tellings, 0, 1)
	}
	r.tellings = append(r.tellings, s)
}

// told contains the events of a change since it was opened.
type told struct {
	id       string
	tellings []Telling
}

// RolledOut records the end of a rollout, as a trace with a span for each wave, and with
// its events.
func (t *Tracer) RolledOut(r Rollout) {
	if t == nil {
		return
	}
	var tellings []Telling
	t.mu.Lock()
	if i := slices.IndexFunc(t.rollouts, func(o *told) bool { return o.id == r.ID }); i >= 0 {
		tellings = t.rollouts[i].tellings
		t.rollouts = slices.Delete(t.rollouts, i, i+1)
	}
	t.mu.Unlock()
	ctx, span := t.tracer.Start(context.Background(), "rollout "+r.Title, otel.WithNewRoot(), otel.WithTimestamp(r.Opened), otel.WithAttributes(
		attribute.String("wasmxds.change", r.ID), attribute.String("wasmxds.policy", r.Policy),
		attribute.String("wasmxds.state", r.State), attribute.Int("wasmxds.envoys", r.Envoys), attribute.Int("wasmxds.waves", len(r.Waves)),
	))
	for _, s := range tellings {
		span.AddEvent(s.Words, otel.WithTimestamp(s.At))
	}
	for i, w := range r.Waves {
		t.wave(ctx, r, i, w)
	}
	if r.Failed != "" {
		span.SetStatus(codes.Error, r.Failed)
	}
	span.End(otel.WithTimestamp(r.Ended))
}

// wave adds the span of a wave.
func (t *Tracer) wave(ctx context.Context, r Rollout, i int, w Wave) {
	last := i == len(r.Waves)-1
	_, span := t.tracer.Start(ctx, fmt.Sprintf("wave %d: %s", i+1, w.Name), otel.WithTimestamp(w.Began),
		otel.WithAttributes(attribute.Int("wasmxds.envoys", w.Envoys)))
	if !w.Good.IsZero() {
		span.AddEvent("all of them run it", otel.WithTimestamp(w.Good))
	}
	end := w.Ended
	if end.IsZero() {
		end = r.Ended
	}
	if last {
		for _, v := range r.Verdicts {
			span.AddEvent("verdict of "+v.Judge, otel.WithTimestamp(end),
				otel.WithAttributes(attribute.String("wasmxds.verdict", v.Verdict), attribute.String("wasmxds.words", cmp.Or(v.Words, "-"))))
		}
		if r.Failed != "" {
			span.SetStatus(codes.Error, r.Failed)
		}
	}
	span.End(otel.WithTimestamp(end))
}
