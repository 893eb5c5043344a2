package definitiontest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
)

// Fuzz starts from files below testdata. It checks that, whatever a file
// contains, parsing ends and returns either a file or a reason, and that the
// result can be converted and merged.
func Fuzz(f *testing.F, p definition.Parser, extension, seeds string) {
	names, err := filepath.Glob("testdata/" + seeds)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds (%v)", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := p.Read("dir/fuzz"+extension, data)
		file, problems := read.File, read.Problems
		if file == nil {
			if OnlyWarnings(problems) {
				t.Fatalf("no file and no reason: %v", problems)
			}
			return
		}
		if !OnlyWarnings(problems) && len(read.Holes) == 0 {
			t.Fatalf("a file in spite of %v", problems) // except for problems in a List
		}
		for _, filter := range file.Filters {
			if filter.Lua != nil {
				if filter.Name == "" || filter.OnFailure == "" || (filter.Lua.Script == "") == (filter.Module.URL == "") {
					t.Errorf("incomplete: %+v", filter)
				}
			} else if filter.Name == "" || filter.Module.URL == "" || filter.OnFailure == "" || filter.Verify == "" || filter.Module.Fetch == "" {
				t.Errorf("incomplete: %+v", filter)
			}
			if filter.Pos.Line < 1 {
				t.Errorf("no line: %+v", filter.Pos)
			}
		}
		for _, r := range file.Rollouts {
			if r.Name == "" || len(r.Definitions) == 0 || len(r.Waves) == 0 || r.Waves[len(r.Waves)-1].Share != 1 || r.Then == "" || r.Stop.NoTraffic == "" {
				t.Errorf("incomplete: %+v", r)
			}
			r.Matches("a/b")
		}
		for _, test := range file.Tests {
			if test.Filter == "" || len(test.Cases) == 0 || len(test.Cases) > 1000 || test.Pos.Line < 1 {
				t.Errorf("incomplete: %+v", test)
			}
			for _, c := range test.Cases {
				if c.Name == "" || len(c.Request.Headers) < 4 || c.At.Pos.Line < 1 {
					t.Errorf("incomplete: %+v", c)
				}
			}
		}
		if written, err := definition.Convert(file); err == nil {
			again, problems := p.Parse("dir/again.yaml", written)
			if again == nil {
				t.Fatalf("converted to what can't be read: %v\n%s", problems, written)
			}
			nativeListeners := len(again.Listeners) > len(file.Listeners) // to which filters are attached
			if diff := cmp.Diff(file.Filters, again.Filters, exceptOrigin); diff != "" && !nativeListeners {
				t.Fatalf("converted to something else: %s", diff)
			}
			if diff := cmp.Diff(file.Rollouts, again.Rollouts, exceptOrigin); diff != "" {
				t.Fatalf("converted to another Rollout: %s", diff)
			}
			if diff := cmp.Diff(file.Tests, again.Tests, exceptOrigin); diff != "" {
				t.Fatalf("converted to another FilterTest: %s", diff)
			}
		}
		set, found := definition.Merge([]*definition.File{file})
		if set == nil {
			t.Fatalf("no set: %v", found)
		}
		if OnlyWarnings(found) != (written(set.Filters) == len(file.Filters) && len(set.Listeners) == len(file.Listeners) && len(set.Resources) == len(file.Resources) && len(set.Rollouts) == len(file.Rollouts) && len(set.Tests) == len(file.Tests)) {
			t.Errorf("left out %v for %v", file, found)
		}
	})
}

// written returns how many of the filters are written in documents, in contrast
// to variants for routes.
func written(filters []*definition.Filter) int {
	n := 0
	for _, f := range filters {
		if f.VariantOf == "" {
			n++
		}
	}
	return n
}

// OnlyWarnings reports whether all problems are warnings.
func OnlyWarnings(problems []definition.Problem) bool {
	return !slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning })
}
