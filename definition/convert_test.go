package definition

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
)

// exceptOrigin compares definitions but for where they came from: the kind may
// be another, and Envoy's own message only raw resources keep.
var exceptOrigin = cmp.Options{
	cmpopts.IgnoreFields(Filter{}, "Kind", "Pos", "Wasm"),
	cmpopts.IgnoreFields(Listener{}, "Pos"), cmpopts.IgnoreFields(Resource{}, "Pos"),
	protocmp.Transform(),
}

// TestConvert: what is converted reads as the same definitions, and shows what
// people get.
func TestConvert(t *testing.T) {
	for _, name := range cases(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, _ := parseFile(t, name)
			written, err := Convert(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".converted", written)
			again, problems := Parse(filepath.ToSlash(filepath.Dir(name))+"/converted.yaml", written)
			if again == nil {
				t.Fatalf("%s\n%s", told(problems), written)
			}
			if diff := cmp.Diff(file.Filters, again.Filters, exceptOrigin); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(file.Listeners, again.Listeners, exceptOrigin); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(file.Resources, again.Resources, exceptOrigin); diff != "" {
				t.Error(diff)
			}
			twice, err := Convert(again)
			if err != nil {
				t.Fatal(err)
			}
			plain := func(b []byte) string { // comments say where it came from
				lines := strings.SplitAfter(string(b), "\n")
				return strings.Join(filterLines(lines), "")
			}
			if diff := cmp.Diff(plain(written), plain(twice)); diff != "" {
				t.Errorf("converted again: %s", diff)
			}
		})
	}
}

func filterLines(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	return kept
}

// TestConvertRefuses: nothing is lost in silence.
func TestConvertRefuses(t *testing.T) {
	file, problems := Parse("a.yaml", []byte(`
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
		t.Fatal(told(problems))
	}
	_, err := Convert(file)
	want := `a.yaml:10: convert EnvoyFilter "a": WasmFilter has no word for allow_on_headers_stop_iteration`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
