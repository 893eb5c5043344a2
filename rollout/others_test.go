package rollout_test

import (
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// TestServerBehind checks that an Envoy that has moved to a server that is behind no longer
// runs a wave, and is waited for until it does again.
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

// TestToldBeforeFiles checks that an Envoy's report that reaches a new leader before it has
// read its files counts when it has: the Envoy reports only once.
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

// TestUnable checks that a wave whose Envoys have all reported that they can't send samples
// is neither watched nor waited for. An Envoy that hasn't reported this, or is away for a
// moment, isn't taken for one.
func TestUnable(t *testing.T) {
	for name, c := range map[string]struct {
		tell   []rollout.Event
		unable bool
	}{
		"not told":        {nil, false},
		"able":            {[]rollout.Event{rollout.Settled{ID: "e0"}, rollout.Settled{ID: "e1"}}, false},
		"unable":          {[]rollout.Event{rollout.Settled{ID: "e0", Unable: true}, rollout.Settled{ID: "e1", Unable: true}}, true},
		"gone, and able":  {[]rollout.Event{rollout.Settled{ID: "e0"}, rollout.Settled{ID: "e1"}, rollout.Gone{ID: "e0"}, rollout.Gone{ID: "e1"}}, false},
		"able by now":     {[]rollout.Event{rollout.Settled{ID: "e0", Unable: true}, rollout.Settled{ID: "e1", Unable: true}, rollout.Settled{ID: "e0"}, rollout.Settled{ID: "e1"}}, false},
		"moved, not told": {[]rollout.Event{rollout.Gone{ID: "e0"}, rollout.Connected{Node: definition.Node{ID: "e0"}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.o.Signals, s.o.Before = true, time.Minute
			s.m, _ = rollout.New(s.o, nil)
			p := policyOf([]string{"careful", "waves=1,100%", "bake=1h"})
			p.Stop.Errors = definition.ErrorRise{More: 0.01, Confidence: 0.999}
			s.policies = []*definition.Rollout{p}
			nodes := []definition.Node{{ID: "e0"}, {ID: "e1"}}
			for _, n := range nodes {
				s.step(rollout.Connected{Node: n})
			}
			s.files = []string{"a=v1"}
			s.want()
			for _, e := range c.tell {
				s.step(e)
			}
			for _, n := range nodes { // those that were away are back, and haven't reported anything
				s.step(rollout.Connected{Node: n})
			}
			s.files = []string{"a=v2"}
			s.want()
			have := func() (n int) {
				for _, node := range nodes {
					if s.plan.Choose(node) != "" {
						n++
					}
				}
				return n
			}
			if n := have(); n != map[bool]int{true: 1}[c.unable] {
				t.Errorf("%d Envoys have it at once", n)
			}
			s.wait("1m")
			if n := have(); n != 1 {
				t.Errorf("%d Envoys have it after a minute, want the first wave", n)
			}
			looks := s.m.Looks(func(rollout.Look) bool { return true })
			if len(looks) != 1 || looks[0].Judge != rollout.SignalsJudge || looks[0].Unable != c.unable {
				t.Errorf("judges to be asked: %+v", looks)
			}
		})
	}
}

// TestToldWhileWritten checks that a report that arrives while a wave is written counts
// when that is done, and immediately if the Envoy runs less than before.
func TestToldWhileWritten(t *testing.T) {
	one := definition.Node{ID: "e0"}
	// writing returns a script with one Envoy that should have a change of a, and also one
	// of b while that is being written.
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
