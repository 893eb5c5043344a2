package definition

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestMerge puts the files of each archive together.
func TestMerge(t *testing.T) {
	archives, err := filepath.Glob("testdata/merge/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives (%v)", err)
	}
	for _, name := range archives {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []*File
			for _, f := range archive.Files {
				file, problems := Parse(f.Name, f.Data)
				if file == nil {
					t.Fatal(told(problems))
				}
				files = append(files, file)
			}
			set, problems := Merge(files)
			golden(t, strings.TrimSuffix(name, "ar"), []byte(told(problems)+listed(set)))
			kept(t, files, set)
		})
	}
}

// kept checks that a set has the pointers of its files.
func kept(t *testing.T, files []*File, set *Set) {
	t.Helper()
	have := map[any]bool{}
	for _, f := range files {
		for _, d := range f.definitions() {
			have[d.definition] = true
		}
	}
	for _, d := range (&File{Filters: set.Filters, Listeners: set.Listeners, Resources: set.Resources}).definitions() {
		if !have[d.definition] {
			t.Errorf("%s %q is not that of a file", d.what, d.name)
		}
	}
}

func listed(set *Set) string {
	var b strings.Builder
	for _, f := range set.Filters {
		fmt.Fprintf(&b, "filter %s of %s\n", f.Name, f.Pos.File)
	}
	for _, l := range set.Listeners {
		fmt.Fprintf(&b, "listener %s of %s\n", l.Name, l.Pos.File)
	}
	for _, r := range set.Resources {
		fmt.Fprintf(&b, "%s %s of %s\n", r.TypeURL, r.Name, r.Pos.File)
	}
	return b.String()
}
