package istio_test

import (
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
	"wasmxds/definition/kinds"
)

var parser = kinds.Parser()

func TestBad(t *testing.T)     { definitiontest.Bad(t, parser) }
func TestGood(t *testing.T)    { definitiontest.Good(t, parser) }
func TestConvert(t *testing.T) { definitiontest.Converts(t, parser) }

// FuzzWasmPlugin, FuzzTrafficExtension and FuzzEnvoyFilter start from documents
// of that kind.
func FuzzWasmPlugin(f *testing.F) { definitiontest.Fuzz(f, parser, ".yaml", "*/wasmplugin*.yaml") }
func FuzzTrafficExtension(f *testing.F) {
	definitiontest.Fuzz(f, parser, ".yaml", "*/trafficextension*.yaml")
}
func FuzzEnvoyFilter(f *testing.F) { definitiontest.Fuzz(f, parser, ".yaml", "*/envoyfilter*.yaml") }

// TestConvertRefuses checks that nothing is lost silently.
func TestConvertRefuses(t *testing.T) {
	file, problems := parser.Parse("a.yaml", []byte(`
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: a}
spec:
  configPatches:
  - applyTo: EXTENSION_CONFIG
    patch:
      operation: ADD
      value:
        name: a
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config:
            allow_on_headers_stop_iteration: true
            vm_config: {code: {local: {filename: /a.wasm}}}
`))
	if file == nil {
		t.Fatal(definitiontest.Told(problems))
	}
	_, err := definition.Convert(file)
	want := `a.yaml:10: convert EnvoyFilter "a": WasmFilter has no word for allow_on_headers_stop_iteration`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
