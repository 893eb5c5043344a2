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

// TestToldBeforeFiles: what an Envoy of another server tells one that leads as soon as
// it has started counts when that one has read its files: the Envoy tells it once.
func TestToldBeforeFiles(t *testing.T) {
	one := definition.Node{ID: "e0"}
	for name, told := range map[string]func(rollout.Choice) rollout.Event{
		"settled": func(c rollout.Choice) rollout.Event { return rollout.Settled{ID: one.ID, Choice: c} },
		"refused": func(c rollout.Choice) rollout.Event {
			return rollout.Refused{ID: one.ID, Choice: c, Key: rollout.Key{Kind: rollout.FilterKind, Name: "a"}, Message: "no"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.policies = []*definition.Rollout{policyOf([]string{"careful", "waves=1,100%", "bake=1h"})}
			s.step(rollout.Connected{Node: one})
			for _, files := range [][]string{{"a=v1"}, {"a=v2"}} {
				s.files = files
				s.want()
			}
			choice := s.plan.Choose(one)
			m, errs := rollout.New(rollout.Options{}, s.disk.copy())
			if len(errs) > 0 || choice == "" {
				t.Fatal(errs, choice)
			}
			s.m = m
			s.step(rollout.Connected{Node: one})
			s.step(told(choice))
			s.want()
			s.wait("1s")
			c := s.m.Status(s.now)().Changes[0]
			if name == "settled" && c.Settled != 1 || name == "refused" && c.State != rollout.Stopped {
				t.Errorf("%s, %d have it in place", c.State, c.Settled)
			}
		})
	}
}

// TestToldWhileWritten: what an Envoy tells while a wave is written down counts when it
// is; that it runs less than before, at once.
func TestToldWhileWritten(t *testing.T) {
	one := definition.Node{ID: "e0"}
	// writing has one Envoy that is to have a change of a, and one of b while that is
	// written down.
	writing := func(t *testing.T) (s *script, first, both rollout.Choice) {
		s = newScript(t)
		s.policies = []*definition.Rollout{policyOf([]string{"careful", "waves=1,100%", "bake=1h"})}
		s.step(rollout.Connected{Node: one})
		for _, files := range [][]string{{"a=v1", "b=v1"}, {"a=v2", "b=v1"}, {"a=v2", "b=v2"}} {
			s.away = files[1] == "b=v2"
			s.files = files
			s.want()
		}
		first = s.plan.Choose(one)
		for _, c := range s.m.Status(s.now)().Changes {
			if !first.Has(c.ID) {
				both = first + "+" + rollout.Choice(c.ID)
			}
		}
		return s, first, both
	}
	settled := func(s *script) map[string]int {
		n := map[string]int{}
		for _, c := range s.m.Status(s.now)().Changes {
			n[c.Title] = c.Settled
		}
		return n
	}
	written := func(s *script) {
		s.away = false
		s.write()
		s.wait("1s")
	}
	t.Run("more", func(t *testing.T) {
		s, _, both := writing(t)
		s.step(rollout.Settled{ID: one.ID, Choice: both})
		if n := settled(s); n["a"] != 0 || n["b"] != 0 {
			t.Errorf("before it is written down: %v", n)
		}
		if written(s); settled(s)["a"] != 1 || settled(s)["b"] != 1 {
			t.Errorf("then: %v", settled(s))
		}
	})
	t.Run("more, and restarts", func(t *testing.T) {
		s, _, both := writing(t)
		s.step(rollout.Settled{ID: one.ID, Choice: both})
		s.step(rollout.Restarted{ID: one.ID})
		if written(s); settled(s)["a"] != 0 || settled(s)["b"] != 0 {
			t.Errorf("it is new, and has not said what it runs: %v", settled(s))
		}
	})
	t.Run("less", func(t *testing.T) {
		s, first, _ := writing(t)
		s.step(rollout.Settled{ID: one.ID, Choice: first})
		if n := settled(s)["a"]; n != 1 {
			t.Errorf("%d run it, want the one", n)
		}
		s.step(rollout.Settled{ID: one.ID, Choice: ""})
		if n := settled(s)["a"]; n != 0 {
			t.Errorf("%d run it, and none does any more", n)
		}
		if written(s); settled(s)["a"] != 0 {
			t.Errorf("then: %v", settled(s))
		}
	})
}
