package source

import "testing"

// TestWhatIsHeld: each step is a set of definitions that is written to a.yaml,
// b.yaml and c.yaml.
func TestWhatIsHeld(t *testing.T) {
	all := filter("a", "") + "---\n" + filter("b", "") + "---\n" + filter("c", "") + "---\n" + filter("d", "")
	type step struct {
		files   map[string]string
		filters string
		held    Removal
	}
	for name, steps := range map[string][]step{
		"all but one file are deleted": {
			{map[string]string{"a.yaml": filter("a", ""), "b.yaml": filter("b", ""), "c.yaml": filter("c", "") + "---\n" + filter("d", "")}, "a b c d", Removal{}},
			{map[string]string{"b.yaml": "", "c.yaml": ""}, "a b c d", Removal{3, 4}},
			{map[string]string{"a.yaml": filter("a", "new")}, "a=new b c d", Removal{3, 4}},
			{map[string]string{"c.yaml": filter("c", "") + "---\n" + filter("d", "")}, "a=new c d", Removal{}},
		},
		"half of them": {
			{map[string]string{"a.yaml": filter("a", "") + "---\n" + filter("b", ""), "b.yaml": filter("c", "") + "---\n" + filter("d", "")}, "a b c d", Removal{}},
			{map[string]string{"b.yaml": ""}, "a b", Removal{}},
			{map[string]string{"a.yaml": ""}, "", Removal{}},
		},
		"a file's content": {
			{map[string]string{"a.yaml": all}, "a b c d", Removal{}},
			{map[string]string{"a.yaml": "# nothing\n"}, "a b c d", Removal{4, 4}},
			{map[string]string{"b.yaml": filter("e", "")}, "a b c d e", Removal{4, 4}},
			{map[string]string{"a.yaml": all + "---\n" + filter("f", "")}, "a b c d e f", Removal{}},
		},
		"a file's content, in two steps": {
			{map[string]string{"a.yaml": all}, "a b c d", Removal{}},
			{map[string]string{"a.yaml": filter("d", "")}, "a b c d", Removal{3, 4}},
			{map[string]string{"a.yaml": filter("c", "") + "---\n" + filter("d", "")}, "c d", Removal{}},
			{map[string]string{"a.yaml": filter("d", "")}, "d", Removal{}},
		},
		"files that are moved": {
			{map[string]string{"a.yaml": all}, "a b c d", Removal{}},
			{map[string]string{"a.yaml": "", "b.yaml": all}, "a b c d", Removal{}},
		},
		"three": {
			{map[string]string{"a.yaml": filter("a", ""), "b.yaml": filter("b", "") + "---\n" + filter("c", "")}, "a b c", Removal{}},
			{map[string]string{"a.yaml": "", "b.yaml": ""}, "", Removal{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStill(t)
			for i, step := range steps {
				s.write(step.files)
				u := s.look()
				if got := filterNames(u); got != step.filters || u.Held != step.held {
					t.Errorf("step %d: filters %q, held %+v, want %q, %+v; problems %v", i, got, u.Held, step.filters, step.held, u.Problems)
				}
			}
		})
	}
}
