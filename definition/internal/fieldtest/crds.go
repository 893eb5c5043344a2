package fieldtest

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wasmxds/definition/internal/document"
)

var crds = flag.String("crds", "", "files of CRDs, with commas between them, to make testdata/crds.txt of")

// CRDs checks that each field of the CRDs in testdata/crds.txt is one that we
// know, supported or rejected, and the reverse, except for the fields in older.
// This ensures that no field of a cluster's objects is reported as unknown. The
// kinds are structs with a Spec, by name. With -crds, it rewrites the file.
func CRDs(t *testing.T, kinds map[string]any, older ...string) {
	t.Helper()
	if *crds != "" {
		writeCRDs(t, slices.Collect(maps.Keys(kinds)), strings.Split(*crds, ","))
	}
	b, err := os.ReadFile("testdata/crds.txt")
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Split(strings.TrimSpace(string(b)), "\n")
	ours := map[string]bool{}
	for kind, of := range kinds {
		spec, _ := reflect.TypeOf(of).FieldByName("Spec")
		paths(spec.Type, kind+" spec", ours)
	}
	covered := map[string]bool{}
	for _, their := range theirs {
		found := ""
		for path := range ours { // a field that is accepted or rejected as a whole covers its subfields
			if path == their || ours[path] && strings.HasPrefix(their, path+".") {
				found = path
			}
		}
		if found == "" {
			t.Errorf("%s: is not known here", their)
		}
		covered[found] = true
	}
	for _, path := range slices.Sorted(maps.Keys(ours)) {
		if !covered[path] && !slices.Contains(older, path) {
			t.Errorf("%s: is in no CRD", path)
		}
	}
}

// paths collects the paths of a struct's fields, and whether each is a leaf.
func paths(of reflect.Type, at string, into map[string]bool) {
	for _, f := range reflect.VisibleFields(of) {
		if f.Anonymous {
			continue // its fields are visible as well
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		leaf := inner.Kind() != reflect.Struct || inner == reflect.TypeFor[document.Node]()
		into[at+"."+name] = leaf
		if !leaf {
			paths(inner, at+"."+name, into)
		}
	}
}

func writeCRDs(t *testing.T, kinds, files []string) {
	t.Helper()
	var lines []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var plain [][]byte // lines of a chart's templates that are not YAML are left out
		for line := range bytes.Lines(data) {
			if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("{{")) {
				plain = append(plain, line)
			}
		}
		docs, problems := document.YAML(bytes.Join(plain, nil))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, d := range docs {
			kind := d.Get("spec").Get("names").Get("kind")
			if kind == nil || !slices.Contains(kinds, kind.Text) {
				continue
			}
			for _, version := range d.Get("spec").Get("versions").Items {
				schema := version.Get("schema").Get("openAPIV3Schema").Get("properties").Get("spec")
				lines = append(lines, schemaPaths(schema, kind.Text+" spec")...)
			}
		}
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	if err := os.WriteFile("testdata/crds.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

func schemaPaths(schema *document.Node, at string) []string {
	if items := schema.Get("items"); items != nil {
		schema = items
	}
	properties := schema.Get("properties")
	if properties == nil {
		return nil
	}
	var found []string
	for _, f := range properties.Fields {
		path := at + "." + f.Key
		found = append(append(found, path), schemaPaths(f.Value, path)...)
	}
	return found
}
