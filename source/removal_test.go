package source

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"wasmxds/state/statetest"
)

// five writes a listener and four filters.
func five(t *testing.T, dir string) {
	t.Helper()
	write(t, dir+"/web.yaml", listener("web"))
	for _, name := range []string{"a", "b", "c", "d"} {
		write(t, dir+"/"+name+".yaml", filter(name, "one"))
	}
}

func held(t *testing.T, u Update, gone, of int) {
	t.Helper()
	if want := (Removal{gone, of}); u.Held != want {
		t.Errorf("held %+v, want %+v", u.Held, want)
	}
	told := strings.Contains(fmt.Sprint(u.Problems), fmt.Sprintf("%d of %d definitions would be removed at once", gone, of))
	if told != (gone > 0) {
		t.Errorf("held %v, problems %v", u.Held, u.Problems)
	}
}

func TestEmptiedDirectoryIsHeld(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	five(t, dir)
	r := start(t, &Directory{Path: dir, State: p.Writer})
	r.until("a=one b=one c=one d=one", 0)
	must(t, os.Rename(dir, dir+".away")) // a mounted volume goes away, and the empty folder below it shows
	must(t, os.Mkdir(dir, 0o777))
	u := r.until("a=one b=one c=one d=one", 1)
	held(t, u, 5, 5)
	if u.Files != 0 || len(u.Set.Listeners) != 1 {
		t.Errorf("%d files, listeners %v", u.Files, u.Set.Listeners)
	}
	must(t, r.Rescan(t.Context()))
	r.quiet()
	r.stop()
	p = next(t, p, data)

	// Nor does a server that starts meanwhile remove anything.
	r = start(t, &Directory{Path: dir, State: p.Writer})
	held(t, r.until("a=one b=one c=one d=one", 1), 5, 5)

	// What is new is taken in all the same.
	write(t, dir+"/e.yaml", filter("e", "one"))
	held(t, r.until("a=one b=one c=one d=one e=one", 1), 5, 5)

	// The volume is back, with one file less: that is an everyday change.
	must(t, os.RemoveAll(dir))
	must(t, os.Remove(dir+".away/a.yaml"))
	must(t, os.Rename(dir+".away", dir))
	held(t, r.until("b=one c=one d=one", 0), 0, 0)
	kept(t, p, "a.yaml", "")
}

func TestRemovalsAll(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	five(t, dir)
	r := start(t, &Directory{Path: dir, State: p.Writer})
	r.until("a=one b=one c=one d=one", 0)
	r.stop()
	p = next(t, p, data)
	for _, name := range []string{"web", "a", "b", "c", "d"} {
		must(t, os.Remove(dir+"/"+name+".yaml"))
	}
	r = start(t, &Directory{Path: dir, State: p.Writer, RemoveAll: true})
	held(t, r.until("", 0), 0, 0)
	kept(t, p, "a.yaml", "")
}

// Each step is a set of definitions written into a.yaml, b.yaml and c.yaml.
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
