package source

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
)

// TestRollouts: each step writes files, and lists the Rollouts in force with
// their number of waves, those that were never good, and the withheld
// listeners, of which a Rollout causes none.
func TestRollouts(t *testing.T) {
	type step struct {
		files    map[string]string
		rollouts string
		holes    string
		withheld string
	}
	policy := func(name, waves string) string {
		return fmt.Sprintf("kind: Rollout\nname: %s\nmatch: {definitions: [%s-*]}\nwaves: %s\n", name, name, waves)
	}
	good, bad := policy("a", "[1]"), policy("a", "[1, 0]")
	web := map[string]string{"web.yaml": listener("web")}
	for name, steps := range map[string][]step{
		"never good": {
			{web, "", "", ""},
			{map[string]string{"r.yaml": bad}, "", "a for a-*", ""},
			{map[string]string{"r.yaml": good}, "a 2", "", ""},
		},
		"at the first start": {
			{map[string]string{"web.yaml": listener("web"), "r.yaml": bad}, "", "a for a-*", ""},
			{map[string]string{"r.yaml": ""}, "", "", ""},
		},
		"good before": {
			{map[string]string{"r.yaml": good}, "a 2", "", ""},
			{map[string]string{"r.yaml": bad}, "a 2", "", ""},
			{map[string]string{"r.yaml": policy("a", "[1, 2]")}, "a 3", "", ""},
			{map[string]string{"r.yaml": ""}, "", "", ""},
		},
		"good before, and now no YAML": {
			{map[string]string{"web.yaml": listener("web"), "r.yaml": good}, "a 2", "", ""},
			{map[string]string{"r.yaml": "kind: Rollout\nname: \xff"}, "a 2", "", ""},
			{map[string]string{"api.yaml": listener("api")}, "a 2", "", ""}, // no filter can be missing in it
		},
		"another one in its file": {
			{map[string]string{"r.yaml": good}, "a 2", "", ""},
			{map[string]string{"r.yaml": good + "---\n" + policy("b", "[]")}, "a 2", "b for b-*", ""},
			{map[string]string{"r.yaml": good + "---\n" + policy("b", "[5%]")}, "a 2 b 2", "", ""},
		},
		"renamed, with a mistake": {
			{map[string]string{"r.yaml": good}, "a 2", "", ""},
			{map[string]string{"r.yaml": policy("b", "[]")}, "a 2", "b for b-*", ""},
		},
		"not even its kind can be told": {
			{web, "", "", ""},
			{map[string]string{"r.json": `{"kind": "Rollout", "name": `}, "", " for all", ""},
			{map[string]string{"api.yaml": listener("api")}, "", " for all", "api"}, // it may be a filter as well
			{map[string]string{"r.json": ""}, "", "", ""},
		},
		"what can't be read and speaks of none": {
			{web, "", "", ""},
			{map[string]string{"r.yaml": "kind: [\xff"}, "", "", ""},
		},
		"a filter of a Rollout's name": { // still was never good
			{map[string]string{"x.yaml": good}, "a 2", "", ""},
			{map[string]string{"x.yaml": good + "---\nkind: WasmFilter\nname: a\n", "web.yaml": listener("web")}, "a 2", "", "web"},
		},
		"a Rollout of a filter's name": {
			{map[string]string{"x.yaml": filter("a", "")}, "", "", ""},
			{map[string]string{"x.yaml": filter("a", "") + "---\n" + bad, "web.yaml": listener("web")}, "", "a for a-*", ""},
		},
		"a name that is taken": {
			{map[string]string{"r.yaml": good}, "a 2", "", ""},
			{map[string]string{"s.yaml": strings.Replace(good, "a-*", "b-*", 1)}, "a 2", "a for b-*", ""},
		},
		"an item of a List": {
			{map[string]string{"l.yaml": "apiVersion: v1\nkind: List\nitems:\n- {kind: Rollout, name: a, waves: [1]}\n"}, "a 2", "", ""},
			{map[string]string{"l.yaml": "apiVersion: v1\nkind: List\nitems:\n- {kind: Rollout, name: a, waves: []}\n- {kind: Rollout, name: b, waves: [1]}\n"}, "a 2", "", ""},
		},
		"others' kind of the name": {
			{map[string]string{"web.yaml": listener("web"), "r.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec: {replicas: 1}\n"}, "", "", ""},
		},
		"most of what there is would be gone": {
			{map[string]string{"r.yaml": good + "---\n" + policy("b", "[1]") + "---\n" + policy("c", "[1]"), "web.yaml": listener("web")}, "a 2 b 2 c 2", "", ""},
			{map[string]string{"r.yaml": ""}, "a 2 b 2 c 2", "", ""},
			{map[string]string{"r.yaml": good + "---\n" + policy("b", "[5]")}, "a 2 b 2", "", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStill(t)
			for i, step := range steps {
				s.write(step.files)
				u := s.look()
				if got := rolloutsOf(u.Set); got != step.rollouts {
					t.Errorf("step %d: Rollouts %q, want %q; problems %v", i, got, step.rollouts, u.Problems)
				}
				if got := rolloutHolesOf(u.Set); got != step.holes {
					t.Errorf("step %d: holes %q, want %q; problems %v", i, got, step.holes, u.Problems)
				}
				if got := withheld(u); got != step.withheld {
					t.Errorf("step %d: withheld %q, want %q; problems %v", i, got, step.withheld, u.Problems)
				}
			}
		})
	}
}

// TestRolloutsAreNews checks that a set changes if and only if its Rollouts do.
func TestRolloutsAreNews(t *testing.T) {
	s := newStill(t)
	policy := func(waves string) map[string]string {
		return map[string]string{"r.yaml": "kind: Rollout\nname: a\nwaves: " + waves + "\n"}
	}
	for i, step := range []struct {
		files map[string]string
		news  bool
	}{
		{policy("[0]"), true}, // a hole
		{map[string]string{"r.yaml": "# as bad\nkind: Rollout\nname: a\nwaves: [0]\n"}, true}, // on another line
		{map[string]string{"other.yaml": "# nothing\n"}, false},
		{policy("[1]"), true},
		{policy("[1]"), false},
		{policy("[2]"), true},
	} {
		was := s.table.set
		s.write(step.files)
		if s.look(); (s.table.set != was) != step.news {
			t.Errorf("step %d: another set: %v", i, s.table.set != was)
		}
	}
}

func rolloutsOf(set *definition.Set) string {
	var all []string
	for _, r := range set.Rollouts {
		all = append(all, fmt.Sprintf("%s %d", r.Name, len(r.Waves)))
	}
	return strings.Join(all, " ")
}

func rolloutHolesOf(set *definition.Set) string {
	var all []string
	for _, h := range set.RolloutHoles {
		of := "all"
		if h.Definitions != nil {
			of = strings.Join(h.Definitions, " ")
		}
		all = append(all, h.Name+" for "+of)
	}
	return strings.Join(all, ", ")
}
