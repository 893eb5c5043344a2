package source

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"log/slog"

	"wasmxds/definition"
	"wasmxds/source/internal/sourcetest"
)

// still is a table that gets documents when the test says so.
type still struct {
	testing.TB
	table *table
	docs  []Document // to be sent
}

func newStill(t testing.TB) *still {
	log := slog.New(slog.DiscardHandler)
	s := &still{TB: t, table: newTable([]Source{{Name: Dir, Base: "/defs"}}, newLastGood(nil, log), log)}
	s.table.take(Batch{Source: Dir, Whole: true})
	return s
}

// look sends the documents that were written.
func (s *still) look() Update {
	s.table.take(Batch{Source: Dir, Docs: s.docs})
	s.docs = nil
	s.table.join()
	return Update{Set: s.table.set, Problems: s.table.problems, Held: s.table.held}
}

func (s *still) write(files map[string]string) {
	for name, content := range files {
		d := Document{Key: Key{Dir, name}, Base: filepath.Join("/defs", filepath.Dir(name)), Data: []byte(content)}
		d.Gone = content == ""
		s.docs = append(s.docs, d)
	}
}

// TestJoin: each step writes files (without content: deletes them), and lists
// the filters and the files with problems.
func TestJoin(t *testing.T) {
	type step struct {
		files    map[string]string
		filters  string
		problems string
	}
	for name, steps := range map[string][]step{
		"the listener's file is deleted": {
			{map[string]string{"a.yaml": attached("a", "", "web, admin"), "web.yaml": listener("web"), "admin.yaml": listener("admin")}, "a", ""},
			{map[string]string{"web.yaml": ""}, "a", "a.yaml"},
			{map[string]string{"b.yaml": filter("b", "")}, "a b", "a.yaml"},
			{map[string]string{"c.yaml": filter("a", "thief")}, "a b", "a.yaml c.yaml"},
			{map[string]string{"c.yaml": ""}, "a b", "a.yaml"},
			{map[string]string{"a.yaml": attached("a", "new", "web")}, "a b", "a.yaml"},
			{map[string]string{"a.yaml": attached("a", "new", "admin")}, "a=new b", ""},
		},
		"the listener is renamed, and something else is changed at the same time": {
			{map[string]string{"a.yaml": attached("a", "", "web"), "web.yaml": listener("web"), "b.yaml": filter("b", "one")}, "a b=one", ""},
			{map[string]string{"web.yaml": listener("other"), "b.yaml": filter("b", "two")}, "a b=two", "web.yaml"},
			{map[string]string{"a.yaml": attached("a", "new", "other")}, "a=new b=two", ""},
		},
		"a filter before its listener": {
			{map[string]string{"a.yaml": attached("a", "", "web"), "b.yaml": filter("b", "")}, "b", "a.yaml"},
			{map[string]string{"web.yaml": listener("web")}, "a b", ""},
		},
		"definitions change places": {
			{map[string]string{"a.yaml": filter("a", ""), "b.yaml": filter("b", "")}, "a b", ""},
			{map[string]string{"a.yaml": filter("b", "new"), "b.yaml": filter("a", "new")}, "a=new b=new", ""},
			{map[string]string{"a.yaml": filter("a", "again"), "b.yaml": filter("b", "again"), "c.yaml": filter("b", "thief")}, "a=again b=again", "c.yaml"},
		},
		"names used twice from the start": {
			{map[string]string{"a.yaml": filter("a", "one"), "b.yaml": filter("a", "two"), "c.yaml": filter("c", "")}, "a=one c", "b.yaml"},
			{map[string]string{"a.yaml": ""}, "a=two c", ""},
			{map[string]string{"a.yaml": filter("a", "one")}, "a=two c", "a.yaml"},
		},
		"a bad file that another relies on": {
			{map[string]string{"a.yaml": attached("a", "", "web"), "web.yaml": listener("web"), "x.yaml": filter("x", "")}, "a x", ""},
			{map[string]string{"web.yaml": listener("web") + "---\n" + filter("x", "thief"), "a.yaml": attached("a", "new", "web")}, "a=new x", "web.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStill(t)
			for i, step := range steps {
				s.write(step.files)
				u := s.look()
				var bad []string
				for _, p := range u.Problems {
					if !p.Warning {
						bad = append(bad, filepath.Base(p.File))
					}
				}
				if got := filterNames(u); got != step.filters || strings.Join(bad, " ") != step.problems {
					t.Fatalf("step %d: filters %q, want %q; problems %v, want in %q", i, got, step.filters, u.Problems, step.problems)
				}
			}
		})
	}
}

// TestJoinManyAtOdds checks that joining thousands of files with hundreds of
// conflicts takes bounded time.
func TestJoinManyAtOdds(t *testing.T) {
	t.Parallel()
	merges := 0
	m := &merger{budget: trials(2000), merge: func(files []*definition.File) (*definition.Set, []definition.Problem) {
		merges++
		return definition.Merge(files)
	}}
	for i := range 2000 {
		path := fmt.Sprintf("%04d.yaml", i)
		f, problems := definition.Parser{}.Parse(path, []byte(filter(fmt.Sprint("f", i%1000), "")))
		if f == nil {
			t.Fatal(problems)
		}
		m.parts = append(m.parts, &part{key: Key{Dir, path}, doc: &tracked{name: path}, fresh: f})
	}
	set, problems := m.whole()
	if len(set.Filters) != 1000 || len(problems) != 1000 || merges > trials(2000)+2 {
		t.Errorf("%d filters, %d problems, %d merges", len(set.Filters), len(problems), merges)
	}
}

// TestRandomChanges makes changes, and checks invariants after each: every
// filter that its file has now, or had when it was last good, is in the set,
// and removals of more than half of them are held back.
func TestRandomChanges(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := newStill(t)
	type state struct {
		good, now string // filter=version; "": none
		there     bool
	}
	files := map[string]*state{}
	base := map[string]bool{} // what removals are compared to
	for i := range 400 {
		name := fmt.Sprint("f", rnd.IntN(8))
		at := func(name string) string {
			return filepath.Join([]string{"", "sub", "sub/deep"}[int(name[1])%3], name+".yaml")
		}
		f := files[name]
		if f == nil {
			f = &state{}
			files[name] = f
		}
		remove := map[string]*state{}
		switch op := rnd.IntN(40); {
		case op < 20:
			root := fmt.Sprint("v", i)
			s.write(map[string]string{at(name): filter(name, root)})
			f.now, f.there = name+"="+root, true
		case op < 32:
			s.write(map[string]string{at(name): "kind: [" + fmt.Sprint(i)})
			f.now, f.there = "", true
		case op < 39:
			remove[name] = f
		default:
			remove = files
		}
		for name, f := range remove {
			if f.there {
				s.write(map[string]string{at(name): ""})
				f.there = false
			}
		}
		if rnd.IntN(3) == 0 {
			continue // two changes before the next update
		}
		lost, bad := 0, 0
		for name := range base {
			if !files[name].there {
				lost++
			}
		}
		held := len(base) >= fewest && 2*lost > len(base)
		if held {
			bad++
		} else {
			clear(base)
		}
		want := []string{}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			f := files[name]
			switch {
			case !f.there && !held:
				f.good = ""
			case f.there && f.now == "":
				bad++
			case f.there:
				f.good = f.now
			}
			if f.good == "" {
				continue
			}
			want = append(want, f.good)
			if !held {
				base[name] = true
			}
		}
		u := s.look()
		if got := filterNames(u); got != strings.Join(want, " ") || len(u.Problems) != bad || held != (u.Held != Removal{}) {
			t.Fatalf("seed %d, change %d: filters %q, want %q; %d bad, held %v, problems %v", seed, i, got, want, bad, held, u.Problems)
		}
	}
}

var (
	filter   = sourcetest.Filter
	listener = sourcetest.Listener
	routed   = sourcetest.Routed
	attached = sourcetest.Attached
)

func filterNames(u Update) string { return sourcetest.FilterNames(u.Set) }
