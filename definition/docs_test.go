package definition

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"wasmxds/definition/internal/document"
)

// TestDocs: docs/kinds.md names every field, honoured or refused, in the
// section of its kind.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, kind := range map[string]any{
		"WasmFilter": wasmFilter{}, "Listener": listener{}, "Envoy's own": extensionHints{},
		"Istio: WasmPlugin": wasmPlugin{}, "Istio: EnvoyFilter": envoyFilter{},
		"Envoy Gateway": extensionPolicy{}, "List (v1)": list{},
	} {
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

// allNames gives the fields of a struct and of those within it; Kubernetes'
// metadata aside.
func allNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return allNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	if t == reflect.TypeFor[document.Node]() || t == reflect.TypeFor[metadata]() {
		return nil
	}
	names := document.Names(reflect.Zero(t).Interface())
	for _, f := range reflect.VisibleFields(t) {
		names = append(names, allNames(f.Type)...)
	}
	return names
}
