package source

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
)

// TestFilterTests: each step writes files, and lists the tests of filters in
// force, those that were never good, and the withheld listeners, of which a
// FilterTest causes none.
func TestFilterTests(t *testing.T) {
	type step struct {
		files map[string]string
		tests string
		holes string
	}
	tests := func(filter string, cases ...string) string {
		return fmt.Sprintf("kind: FilterTest\nfilter: %s\ncases: [{name: %s}]\n", filter, strings.Join(cases, "}, {name: "))
	}
	bad := "kind: FilterTest\nfilter: a\ncases: []\n"
	web := map[string]string{"web.yaml": listener("web"), "a.yaml": filter("a", "")}
	for name, steps := range map[string][]step{
		"never good": {
			{web, "", ""},
			{map[string]string{"t.yaml": bad}, "", "a"},
			{map[string]string{"t.yaml": tests("a", "x")}, "a 1", ""},
			{map[string]string{"t.yaml": ""}, "", ""},
		},
		"at the first start": {
			{map[string]string{"web.yaml": listener("web"), "a.yaml": filter("a", ""), "t.yaml": bad}, "", "a"},
		},
		"good before": {
			{map[string]string{"t.yaml": tests("a", "x", "y")}, "a 2", ""},
			{map[string]string{"t.yaml": bad}, "a 2", ""},
			{map[string]string{"t.yaml": "kind: FilterTest\nfilter: \xff"}, "a 2", ""},
			{map[string]string{"t.yaml": tests("a", "x")}, "a 1", ""},
		},
		"two for one filter": {
			{map[string]string{"t.yaml": tests("a", "x"), "s.yaml": tests("a", "x", "y")}, "a 2 a 1", ""},
			{map[string]string{"t.yaml": tests("a", "x") + "---\n" + bad}, "a 2 a 1", ""},
		},
		"of a filter that there is not": {
			{map[string]string{"t.yaml": tests("other", "x")}, "other 1", ""},
		},
		"nobody can tell for which": {
			{web, "", ""},
			{map[string]string{"t.yaml": "kind: FilterTest\ncases: [{name: x}]\n"}, "", ""},
		},
		"too many": {
			{map[string]string{"t.yaml": tests("a", strings.Fields(strings.Repeat("x ", 100_000))...)}, "", "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStill(t)
			for i, step := range steps {
				s.write(step.files)
				u := s.look()
				if got := testsIn(u.Set); got != step.tests {
					t.Errorf("step %d: tests %q, want %q; problems %v", i, got, step.tests, u.Problems)
				}
				if got := testHolesOf(u.Set); got != step.holes {
					t.Errorf("step %d: holes %q, want %q; problems %v", i, got, step.holes, u.Problems)
				}
				if got := withheld(u); got != "" {
					t.Errorf("step %d: withheld %q; problems %v", i, got, u.Problems)
				}
			}
		})
	}
}

// TestFilterTestsAreNews checks that a set changes when its tests do.
func TestFilterTestsAreNews(t *testing.T) {
	s := newStill(t)
	for i, step := range []struct {
		file string
		news bool
	}{
		{"kind: FilterTest\nfilter: a\ncases: []\n", true}, // a hole
		{"kind: FilterTest\nfilter: a\ncases: [{name: x}]\n", true},
		{"kind: FilterTest\nfilter: a\ncases: [{name: x}]\n", false},
		{"kind: FilterTest\nfilter: a\ncases: [{name: y}]\n", true},
	} {
		was := s.table.set
		s.write(map[string]string{"t.yaml": step.file})
		if s.look(); (s.table.set != was) != step.news {
			t.Errorf("step %d: another set: %v", i, s.table.set != was)
		}
	}
}

// TestFilterTestsOfAnAdoptedFile checks that tests of a filter whose file has
// become invalid, because the listener that it names was deleted, are found
// beside those of others.
func TestFilterTestsOfAnAdoptedFile(t *testing.T) {
	test := func(filter string) string {
		return "---\nkind: FilterTest\nfilter: " + filter + "\ncases: [{name: x}]\n"
	}
	s := newStill(t)
	s.write(map[string]string{
		"web.yaml": listener("web"), "admin.yaml": listener("admin"),
		"a.yaml": attached("a", "", "web") + test("a"), "z.yaml": attached("z", "", "admin") + test("z"),
	})
	if u := s.look(); len(u.Problems) > 0 {
		t.Fatal(u.Problems)
	}
	s.write(map[string]string{"web.yaml": ""})
	u := s.look()
	for _, name := range []string{"a", "z"} {
		if n := len(u.Set.TestsOf(name)); n != 1 {
			t.Errorf("%d tests of %s, want 1; tests %q, problems %v", n, name, testsIn(u.Set), u.Problems)
		}
	}
}

func testsIn(set *definition.Set) string {
	var all []string
	for _, t := range set.Tests {
		all = append(all, fmt.Sprintf("%s %d", t.Filter, len(t.Cases)))
	}
	return strings.Join(all, " ")
}

func testHolesOf(set *definition.Set) string {
	var all []string
	for _, h := range set.TestHoles {
		all = append(all, h.Tests)
	}
	return strings.Join(all, ", ")
}
