package rollout_test

import (
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// TestServerBehind: an Envoy that has come to a server that is behind runs a wave no
// more, and is waited for until it does again.
func TestServerBehind(t *testing.T) {
	m, errs := rollout.New(rollout.Options{Broken: func(err error) { t.Error(err) }}, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	now, known := time.Unix(0, 0), map[string]any{}
	var plan *rollout.Plan
	step := func(e rollout.Event) {
		ready := m.Step(now, e)
		for ; ready.Plan != nil || ready.Save != nil; ready = m.Step(now, rollout.Tick{}) {
			if ready.Plan != nil {
				plan = ready.Plan
			}
			if ready.Save != nil {
				if ready = m.Step(now, rollout.Saved{Seq: ready.Save.Seq}); ready.Plan != nil {
					plan = ready.Plan
				}
			}
		}
	}
	nodes := []definition.Node{{ID: "e0"}, {ID: "e1"}}
	have := func() (n int) {
		for _, node := range nodes {
			if plan.Choose(node) != "" {
				n++
			}
		}
		return n
	}
	policies := []*definition.Rollout{policyOf([]string{"careful", "waves=1,100%", "bake=1m"})}
	for _, n := range nodes {
		step(rollout.Connected{Node: n})
	}
	step(rollout.Wanted{Set: wantedOf([]string{"a=v1"}, known, policies, nil)})
	step(rollout.Wanted{Set: wantedOf([]string{"a=v2"}, known, policies, nil)})
	if have() != 1 {
		t.Fatalf("%d Envoys have it, want the first wave", have())
	}
	one := nodes[0]
	if plan.Choose(one) == "" {
		one = nodes[1]
	}
	choice := plan.Choose(one)
	step(rollout.Settled{ID: one.ID, Choice: choice})
	now = now.Add(30 * time.Second)
	step(rollout.Settled{ID: one.ID, Choice: ""})
	now = now.Add(5 * time.Minute)
	step(rollout.Tick{})
	if have() != 1 {
		t.Error("the next wave begins, and the one Envoy of this one does not run it")
	}
	step(rollout.Settled{ID: one.ID, Choice: choice})
	now = now.Add(2 * time.Minute)
	step(rollout.Tick{})
	if have() != 2 {
		t.Errorf("%d Envoys have it, want all", have())
	}
}
