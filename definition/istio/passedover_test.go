package istio_test

import (
	"strings"
	"testing"

	"wasmxds/definition/internal/definitiontest"
)

// TestPassedOver checks that nothing of an object is served that has an error, or is passed over:
// neither the cluster that it adds before it, nor the one after it.
func TestPassedOver(t *testing.T) {
	cluster := func(name string) string {
		return "  - {applyTo: CLUSTER, patch: {operation: ADD, value: {name: " + name + ", type: STATIC, load_assignment: {cluster_name: " + name + "}}}}\n"
	}
	object := func(name, typed string) string {
		return `apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ` + name + `}
spec:
  configPatches:
` + cluster(name+"-first") + `  - applyTo: HTTP_FILTER
    patch: {operation: INSERT_FIRST, value: {name: other, typed_config: ` + typed + `}}
` + cluster(name+"-last")
	}
	unrelated := object("unrelated", `{"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}`)
	wrong := object("wrong", `{"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {}}`)
	good := object("good", `{"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: "local a = 1"}}`)
	indented := func(text string) string {
		return "- " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
	}
	for name, text := range map[string]string{
		"documents": unrelated + "---\n" + good,
		"a list":    "apiVersion: v1\nkind: List\nitems:\n" + indented(unrelated) + indented(wrong) + indented(good),
	} {
		file, problems := parser.Parse("a.yaml", []byte(text))
		if file == nil {
			t.Fatalf("%s: %s", name, definitiontest.Told(problems))
		}
		var got []string
		for _, r := range file.Resources {
			got = append(got, r.Name)
		}
		if want := "good-first good-last"; strings.Join(got, " ") != want || len(file.Filters) != 1 {
			t.Errorf("%s: clusters %v, want %s, and %d filters; told %s", name, got, want, len(file.Filters), definitiontest.Told(problems))
		}
	}
}
