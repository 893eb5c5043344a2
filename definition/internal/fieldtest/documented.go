// Package fieldtest compares the fields of kinds of definitions with other
// descriptions of them: our documents, and the CRDs of clusters.
package fieldtest

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"wasmxds/definition/internal/document"
)

// Documented checks that a document names every field, supported or rejected,
// in the section of its kind.
func Documented(t *testing.T, file string, sections map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for title, kind := range sections {
		_, section, found := strings.Cut(string(text), "\n## "+title)
		if !found {
			t.Errorf("no section %s", title)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		words := map[string]bool{}
		for word := range strings.FieldsFuncSeq(section, func(r rune) bool {
			return !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
		}) {
			words[word] = true
		}
		for _, name := range allNames(reflect.TypeOf(kind)) {
			if !words[name] {
				t.Errorf("section %s does not name %s", title, name)
			}
		}
	}
}

// allNames returns the fields of a struct and of nested structs, except
// Kubernetes' metadata.
func allNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return allNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	if t == reflect.TypeFor[document.Node]() || t.Name() == "Metadata" {
		return nil
	}
	names := document.Names(reflect.Zero(t).Interface())
	for _, f := range reflect.VisibleFields(t) {
		names = append(names, allNames(f.Type)...)
	}
	return names
}
