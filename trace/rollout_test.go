package trace

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// rolledOut plays a story, and returns the spans with their events and attributes.
func rolledOut(t *testing.T, story func(*Tracer)) string {
	t.Helper()
	kept := &keeper{}
	tracer, err := New(t.Context(), Options{Exporter: kept, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	story(tracer)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tracer.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	kept.tree() // sorts them
	ms := func(at time.Time) int64 { return at.Sub(noon).Milliseconds() }
	var show func(s tracetest.SpanStub, indent string)
	show = func(s tracetest.SpanStub, indent string) {
		fmt.Fprintf(&b, "%s%s %d-%d", indent, s.Name, ms(s.StartTime), ms(s.EndTime))
		for _, a := range s.Attributes {
			fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(a.Key), "wasmxds."), a.Value.String())
		}
		if s.Status.Description != "" {
			fmt.Fprintf(&b, " (%s)", s.Status.Description)
		}
		b.WriteByte('\n')
		for _, e := range s.Events {
			fmt.Fprintf(&b, "%s  @%d %s", indent, ms(e.Time), e.Name)
			for _, a := range e.Attributes {
				fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(a.Key), "wasmxds."), a.Value.String())
			}
			b.WriteByte('\n')
		}
		for _, child := range kept.spans {
			if child.Parent.SpanID() == s.SpanContext.SpanID() {
				show(child, indent+"  ")
			}
		}
	}
	for _, s := range kept.spans {
		if !s.Parent.SpanID().IsValid() {
			show(s, "")
		}
	}
	return b.String()
}

func TestRollouts(t *testing.T) {
	stopped := Rollout{
		ID: "c1", Title: "hello", Policy: "careful", State: "stopped", Failed: "hello crashed 3 times on edge-17",
		Opened: after(0), Ended: after(7000), Envoys: 40,
		Waves: []Wave{
			{Name: "tier=canary", Envoys: 1, Began: after(100), Good: after(400), Ended: after(5000)},
			{Name: "5 %", Envoys: 2, Began: after(5000)},
		},
		Verdicts: []Verdict{{"signals", "bad", "2 % more 5xx"}, {"webhook 1", "good", ""}},
	}
	for name, c := range map[string]struct {
		story func(*Tracer)
		want  string
	}{
		"one that was stopped": {func(tr *Tracer) {
			tr.Tell(Telling{"c1", "wave 1 of 3 begins: 1 Envoy", after(100)})
			tr.Tell(Telling{"c2", "something of another", after(200)})
			tr.Tell(Telling{"c1", "paused by ann", after(1000)})
			tr.RolledOut(stopped)
		}, `
rollout hello 0-7000 change=c1 policy=careful state=stopped envoys=40 waves=2 (hello crashed 3 times on edge-17)
  @100 wave 1 of 3 begins: 1 Envoy
  @1000 paused by ann
  wave 1: tier=canary 100-5000 envoys=1
    @400 all of them run it
  wave 2: 5 % 5000-7000 envoys=2 (hello crashed 3 times on edge-17)
    @7000 verdict of signals verdict=bad words=2 % more 5xx
    @7000 verdict of webhook 1 verdict=good words=-
`},
		"the same once more, which has other events": {func(tr *Tracer) {
			tr.Tell(Telling{"c1", "wave 1 of 3 begins", after(100)})
			tr.RolledOut(stopped)
			again := stopped
			again.State, again.Failed, again.Opened, again.Waves, again.Verdicts = "done", "", after(6000), nil, nil
			tr.Tell(Telling{"c1", "resumed by ann", after(6000)})
			tr.RolledOut(again)
		}, `
rollout hello 0-7000 change=c1 policy=careful state=stopped envoys=40 waves=2 (hello crashed 3 times on edge-17)
  @100 wave 1 of 3 begins
  wave 1: tier=canary 100-5000 envoys=1
    @400 all of them run it
  wave 2: 5 % 5000-7000 envoys=2 (hello crashed 3 times on edge-17)
    @7000 verdict of signals verdict=bad words=2 % more 5xx
    @7000 verdict of webhook 1 verdict=good words=-
rollout hello 6000-7000 change=c1 policy=careful state=done envoys=40 waves=0
  @6000 resumed by ann
`},
		"one that goes on": {func(tr *Tracer) { tr.Tell(Telling{"c1", "wave 1 of 3 begins", after(100)}) }, "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := "\n" + rolledOut(t, c.story); got != c.want {
				t.Errorf("%s\nwant:%s", got, c.want)
			}
		})
	}
	var none *Tracer
	none.Tell(Telling{})
	none.RolledOut(stopped)
}

// TestTellingsAreBounded checks that only so much is kept of changes that never end.
func TestTellingsAreBounded(t *testing.T) {
	tr := &Tracer{}
	for i := range 3 * maxRollouts {
		for j := range 3 * maxTellings {
			tr.Tell(Telling{ID: fmt.Sprint(i), Words: fmt.Sprint(j)})
		}
	}
	if n := len(tr.rollouts); n != maxRollouts {
		t.Errorf("%d changes", n)
	}
	newest := tr.rollouts[maxRollouts-1]
	if n := len(newest.tellings); n != maxTellings || newest.tellings[n-1].Words != fmt.Sprint(3*maxTellings-1) {
		t.Errorf("%d tellings, the last %v", n, newest.tellings[n-1])
	}
}
