package definition_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
)

// TestMerge merges the files of each archive.
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
			var files []*definition.File
			for _, f := range archive.Files {
				file, problems := parser.Parse(f.Name, f.Data)
				if file == nil {
					t.Fatal(definitiontest.Told(problems))
				}
				files = append(files, file)
			}
			set, problems := definition.Merge(files)
			definitiontest.Golden(t, strings.TrimSuffix(name, "ar"), []byte(definitiontest.Told(problems)+listed(set)))
			kept(t, files, set)
		})
	}
}

// kept checks that a set has the pointers of its files.
func kept(t *testing.T, files []*definition.File, set *definition.Set) {
	t.Helper()
	have := map[any]bool{}
	for _, f := range files {
		each(f.Filters, f.Listeners, f.Resources, f.Rollouts, func(d any, _ string) { have[d] = true })
	}
	each(set.Filters, set.Listeners, set.Resources, set.Rollouts, func(d any, name string) {
		if f, is := d.(*definition.Filter); is && f.VariantOf != "" {
			if again, _ := definition.Merge(files); !slices.Contains(again.Filters, f) {
				t.Errorf("%q is another one each time", name)
			}
			return
		}
		if !have[d] {
			t.Errorf("%T %q is not that of a file", d, name)
		}
	})
}

func each(filters []*definition.Filter, listeners []*definition.Listener, resources []*definition.Resource, rollouts []*definition.Rollout, visit func(any, string)) {
	for _, f := range filters {
		visit(f, f.Name)
	}
	for _, l := range listeners {
		visit(l, l.Name)
	}
	for _, r := range resources {
		visit(r, r.Name)
	}
	for _, r := range rollouts {
		visit(r, r.Name)
	}
}

func listed(set *definition.Set) string {
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
	for _, r := range set.Rollouts {
		fmt.Fprintf(&b, "rollout %s of %s\n", r.Name, r.Pos.File)
	}
	return b.String()
}
