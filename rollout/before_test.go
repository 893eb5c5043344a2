package rollout_test

import (
	"testing"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// TestBeforeWaves checks that BeforeWaves leaves out a wave that begins only in a copy that
// is ahead of the store, and keeps those that the store has.
func TestBeforeWaves(t *testing.T) {
	s := newScript(t)
	s.policies = []*definition.Rollout{policyOf([]string{"careful", "waves=1,100%", "bake=1m"})}
	for _, id := range []string{"e0", "e1"} {
		s.step(rollout.Connected{Node: definition.Node{ID: id}})
	}
	s.files = []string{"a=v1"}
	s.want()
	reached := func(what string, want int) {
		t.Helper()
		m, errs := rollout.New(s.o, rollout.BeforeWaves(s.disk))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		all := m.Status(s.now)().Changes
		if len(all) == 0 || all[0].Title != "a" || all[0].Wave != want {
			t.Errorf("%s: want wave %d: %+v", what, want, all)
		}
	}
	// noted writes all pending batches to the copy alone.
	noted := func() {
		for _, b := range s.queue {
			s.disk.apply(b.Values)
		}
	}
	s.away, s.files = true, []string{"a=v2"}
	s.want()
	noted()
	reached("the first is to begin", 0)
	s.away = false
	s.write()
	s.wait("1s")
	reached("it has", 1)
	for _, id := range []string{"e0", "e1"} {
		s.step(rollout.Settled{ID: id, Choice: s.plan.Choose(definition.Node{ID: id})})
	}
	s.away = true
	s.wait("2m")
	noted()
	reached("the second is to begin", 1)
}
