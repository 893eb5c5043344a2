package rollout_test

import (
	"slices"
	"testing"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// TestBakes checks that a choice may have to be undone while any of its changes bakes.
func TestBakes(t *testing.T) {
	s := newScript(t)
	s.policies = []*definition.Rollout{
		policyOf([]string{"slow", "for=a", "waves=1,100%", "bake=1m"}),
		policyOf([]string{"fast", "for=b", "waves=1,100%", "bake=0s"}),
	}
	s.step(rollout.Connected{Node: definition.Node{ID: "e0"}})
	for _, files := range [][]string{{"a=v1", "b=v1"}, {"a=v2", "b=v1"}, {"a=v2", "b=v2"}} {
		s.files = files
		s.want()
	}
	if len(s.plan.Sets) != 3 {
		t.Fatalf("%d choices, want each change and both", len(s.plan.Sets))
	}
	for choice, set := range s.plan.Sets {
		words := wordsOf(set)
		if got := s.plan.Bakes(choice); got != slices.Contains(words, "a=v2") {
			t.Errorf("%v bakes: %v", words, got)
		}
	}
	if s.plan.Bakes("") {
		t.Error("the base bakes")
	}
}
