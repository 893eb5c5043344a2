// Package wasmxds_test keeps ARCHITECTURE.md true.
package wasmxds_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const architecture = "ARCHITECTURE.md"

// TestLayers compares what packages import with the table of packages: each
// folder may import itself and what its row names, with what is below. Tests
// may import anything.
func TestLayers(t *testing.T) {
	b, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	root := os.DirFS(".")
	table := layersOf(t, string(b))
	for folder := range table {
		if info, err := fs.Stat(root, folder); err != nil || !info.IsDir() {
			t.Errorf("%s has a row for %s/, which is no folder: remove the row", architecture, folder)
		}
	}
	found := importsOf(t, root)
	if len(found) == 0 {
		t.Fatal("no imports found")
	}
	for _, wrong := range table.check(found) {
		t.Error(wrong)
	}
}

// TestLayersAreChecked sees to it that TestLayers can fail.
func TestLayersAreChecked(t *testing.T) {
	table := layersOf(t, "## Packages\n\n| f | j | i |\n| --- | --- | --- |\n| `low/` | l | – |\n| `high/` | h | low |\n| `top/` | t | all |\n")
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"high", "low/part", true},
		{"high/part", "low", true},
		{"high/part", "high", true},
		{"top", "high", true},
		{"low", "high", false},
		{"low", "lower", false},
		{"lower", "low", false},
		{"high", "top", false},
	} {
		if got := table.check([]imported{{"x.go", c.from, c.to}}); (len(got) == 0) != c.ok {
			t.Errorf("%s imports %s: %v", c.from, c.to, got)
		}
	}
}

// layers are the folders that each folder may import, by its path; "all" is
// any.
type layers map[string][]string

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9/-]+)/` \\|.*\\| ([^|]+) \\|$")

func layersOf(t *testing.T, document string) layers {
	t.Helper()
	_, section, ok := strings.Cut(document, "## Packages\n")
	if !ok {
		t.Fatal("no section Packages")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	table := layers{}
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		table[m[1]] = nil
		if m[2] != "–" {
			table[m[1]] = strings.Split(m[2], ", ")
		}
	}
	if n := strings.Count(section, "\n| ") - 2; len(table) != n { // without its head
		t.Fatalf("%d rows of Packages, %d of them read", n, len(table))
	}
	return table
}

// imported is an import of one of our folders by a file of another.
type imported struct{ file, from, to string }

func (l layers) check(all []imported) []string {
	var wrong []string
	for _, i := range all {
		folder := i.from
		for folder != "." && !l.has(folder) {
			folder = path.Dir(folder)
		}
		may := l[folder]
		switch {
		case folder == ".":
			wrong = append(wrong, i.file+": "+i.from+"/ is not in the table of packages of "+architecture+": add a row for it that says what it may import")
		case within(i.to, folder) || slices.Contains(may, "all"):
		case !slices.ContainsFunc(may, func(m string) bool { return within(i.to, m) }):
			wrong = append(wrong, i.file+": imports "+i.to+"; "+folder+"/ may import only itself and ["+strings.Join(may, ", ")+
				"]: move the code to where it may, take what it needs as a parameter, or change the row in "+architecture+" and say why")
		}
	}
	return wrong
}

func (l layers) has(folder string) bool {
	_, ok := l[folder]
	return ok
}

func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// importsOf finds them in all files that are no tests, for whatever platform
// and tags, and leaves out folders that are modules of their own.
func importsOf(t *testing.T, root fs.FS) []imported {
	t.Helper()
	module := moduleOf(t, root)
	var all []imported
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, own := fs.Stat(root, path.Join(name, "go.mod"))
			if name != "." && (own == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ok := strings.CutPrefix(p, module+"/"); ok {
				all = append(all, imported{name, path.Dir(name), to})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func moduleOf(t *testing.T, root fs.FS) string {
	t.Helper()
	b, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("go.mod names no module")
	}
	return string(m[1])
}
