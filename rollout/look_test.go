package rollout_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// TestLooks checks that only webhooks get the definitions and nodes of a change, and only
// when they are due.
func TestLooks(t *testing.T) {
	m, errs := rollout.New(rollout.Options{Signals: true}, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var plan *rollout.Plan
	step := func(e rollout.Event) {
		for r := m.Step(time.Unix(0, 0), e); ; r = m.Step(time.Unix(0, 0), rollout.Saved{Seq: r.Save.Seq}) {
			if r.Plan != nil {
				plan = r.Plan
			}
			if r.Save == nil {
				return
			}
		}
	}
	policy := policyOf([]string{"p", "waves=50%,100%", "bake=1h"})
	policy.Ask = []definition.Judge{{Prometheus: &definition.PrometheusJudge{}}, {Webhook: &definition.WebhookJudge{}}, {Webhook: &definition.WebhookJudge{}}}
	known := map[string]any{}
	want := func(files ...string) {
		step(rollout.Wanted{Set: wantedOf(files, known, []*definition.Rollout{policy}, nil)})
	}
	want("a=v1", "b=v1", "c=v1")
	var nodes []definition.Node
	for i := range 3001 {
		nodes = append(nodes, definition.Node{ID: fmt.Sprintf("edge-%d", i)})
		step(rollout.Connected{Node: nodes[i]})
	}
	want("a=v1", "b=v2", "d=v1")
	var have []string
	for _, n := range nodes {
		if plan.Choose(n) != "" {
			have = append(have, n.ID)
		}
	}
	slices.Sort(have)
	step(rollout.Gone{ID: have[0]})
	have = have[1:]

	var open []string
	looks := m.Looks(func(l rollout.Look) bool {
		if l.Definitions != nil || l.Nodes != nil || l.Reached != 0 {
			t.Errorf("%s is told before it is due", l.Judge)
		}
		open = append(open, l.Judge)
		return l.Judge != "webhook 3"
	})
	if want := []string{"signals", "prometheus 1", "webhook 2", "webhook 3"}; !slices.Equal(open, want) {
		t.Errorf("%q can be asked, want %q", open, want)
	}
	var due []string
	for _, l := range looks {
		due = append(due, l.Judge)
		if l.Policy != policy || l.Wave != 1 || l.Title != "b, c, d" || (l.Ask == nil) != (l.Judge == rollout.SignalsJudge) {
			t.Errorf("of %s: %+v", l.Judge, l)
		}
		if l.Judge != "webhook 2" {
			if l.Definitions != nil || l.Nodes != nil || l.Reached != 0 {
				t.Errorf("%s is told what only webhooks are", l.Judge)
			}
			continue
		}
		if len(have) != 1500 || l.Reached != 1500 || !slices.Equal(l.Nodes, have[:1000]) {
			t.Errorf("%s is told of %d of %d Envoys, from %s on; there are %d, from %s on", l.Judge, len(l.Nodes), l.Reached, l.Nodes[0], len(have), have[0])
		}
		var of []string
		for _, d := range l.Definitions {
			of = append(of, d.Kind+" "+d.Name+" "+d.What)
		}
		if want := []string{"filter b changed", "filter c removed", "filter d added"}; !slices.Equal(of, want) {
			t.Errorf("%s is told of %q, want %q", l.Judge, of, want)
		}
	}
	if want := open[:3]; !slices.Equal(due, want) {
		t.Errorf("%q are due, want %q", due, want)
	}
}
