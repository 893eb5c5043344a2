package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"wasmxds/rollout"
	"wasmxds/trace"
)

// spanNames is an exporter that keeps everything at the end.
type spanNames struct {
	tracetest.InMemoryExporter
	names []string
}

func (s *spanNames) Shutdown(ctx context.Context) error {
	for _, span := range s.GetSpans() {
		s.names = append(s.names, fmt.Sprintf("%s %d events %s", span.Name, len(span.Events), span.Status.Description))
	}
	slices.Sort(s.names)
	return s.InMemoryExporter.Shutdown(ctx)
}

// TestRolloutsAreTraced checks that a change that went in waves is traced when
// it has ended, and that the sender of events never blocks.
func TestRolloutsAreTraced(t *testing.T) {
	for _, c := range []struct {
		name  string
		told  []rollout.Told
		ended rollout.ChangeStatus
		err   error
		want  string
	}{
		{"stopped", []rollout.Told{
			{Change: "c1", State: rollout.Rolling, Words: "wave 1 begins"}, {Words: "of no change"}, {Change: "c2", State: rollout.Rolling, Words: "another"},
			{Change: "c1", State: rollout.Stopped, Cause: rollout.ByCrashes, Words: "stopped"}, {Change: "c1", State: rollout.Stopped, Words: "all are back"},
		}, rollout.ChangeStatus{State: rollout.Stopped, Reason: "it crashed"}, nil,
			"rollout hello 2 events it crashed, wave 1: 1 Envoy 2 events it crashed"},
		{"done", []rollout.Told{{Change: "c1", State: rollout.Done, Words: "it is everywhere"}}, rollout.ChangeStatus{State: rollout.Done, Reason: "of before"}, nil,
			"rollout hello 1 events , wave 1: 1 Envoy 2 events "},
		{"goes on", []rollout.Told{{Change: "c1", State: rollout.Paused, Cause: rollout.ByHand, Words: "paused"}}, rollout.ChangeStatus{State: rollout.Paused}, nil, ""},
		{"another by now", []rollout.Told{{Change: "c1", State: rollout.Done}}, rollout.ChangeStatus{State: rollout.Rolling}, nil, ""},
		{"nobody says", []rollout.Told{{Change: "c1", State: rollout.Done}}, rollout.ChangeStatus{State: rollout.Done}, errors.New("busy"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept := new(spanNames)
				tracer, err := trace.New(t.Context(), trace.Options{Exporter: kept})
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				c.ended.ID, c.ended.Title, c.ended.Policy, c.ended.Opened, c.ended.Ended = "c1", "hello", "careful", now, now.Add(time.Minute)
				c.ended.Waves = []rollout.WaveStatus{{Name: "1 Envoy", Envoys: 1, Began: now, Good: now.Add(time.Second)}, {Name: "100 %"}}
				c.ended.Judges = []rollout.VerdictStatus{{Judge: "signals", Verdict: rollout.Good}}
				ctx, end := context.WithCancel(t.Context())
				ended := make(chan struct{})
				n := newNews()
				go func() {
					defer close(ended)
					n.run(ctx, tracer, func(context.Context) (rollout.Status, error) {
						return rollout.Status{Changes: []rollout.ChangeStatus{c.ended}}, c.err
					})
				}()
				for _, told := range c.told {
					n.add(told)
				}
				synctest.Wait()
				end()
				<-ended
				if err := tracer.Run(ctx); err != nil {
					t.Error(err)
				}
				if got := strings.Join(kept.names, ", "); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestChangesWithoutAPolicyAreTracedOnce checks that such changes are traced
// only as changes.
func TestChangesWithoutAPolicyAreTracedOnce(t *testing.T) {
	kept := new(spanNames)
	tracer, err := trace.New(t.Context(), trace.Options{Exporter: kept})
	if err != nil {
		t.Fatal(err)
	}
	traceRollout(tracer, rollout.Status{Changes: []rollout.ChangeStatus{{ID: "c1", State: rollout.Done}}}, rollout.Told{Change: "c1", State: rollout.Done})
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := tracer.Run(ctx); err != nil {
		t.Error(err)
	}
	if len(kept.names) > 0 {
		t.Errorf("%q", kept.names)
	}
}
