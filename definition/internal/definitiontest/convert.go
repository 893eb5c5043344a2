package definitiontest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"wasmxds/definition"
)

// exceptOrigin compares definitions without their origin: the kind may differ,
// and only raw resources keep Envoy's own message.
var exceptOrigin = cmp.Options{
	cmpopts.IgnoreFields(definition.Filter{}, "Kind", "Pos", "Wasm"),
	cmpopts.IgnoreFields(definition.Listener{}, "Pos"), cmpopts.IgnoreFields(definition.Resource{}, "Pos"), cmpopts.IgnoreFields(definition.Rollout{}, "Pos"),
	cmpopts.EquateEmpty(), cmpopts.IgnoreTypes(definition.Position{}),
	protocmp.Transform(),
}

// Converts converts each file of testdata/good, and checks that the result is
// read as the same definitions. The golden files show the results.
func Converts(t *testing.T, p definition.Parser) {
	t.Helper()
	for _, name := range cases(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, _ := parseFile(t, p, name)
			written, err := definition.Convert(file)
			if err != nil {
				t.Fatal(err)
			}
			Golden(t, name+".converted", written)
			again, problems := p.Parse(filepath.ToSlash(filepath.Dir(name))+"/converted.yaml", written)
			if again == nil {
				t.Fatalf("%s\n%s", Told(problems), written)
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
			if diff := cmp.Diff(file.Rollouts, again.Rollouts, exceptOrigin); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(file.Tests, again.Tests, exceptOrigin); diff != "" {
				t.Error(diff)
			}
			twice, err := definition.Convert(again)
			if err != nil {
				t.Fatal(err)
			}
			plain := func(b []byte) string { // comments tell the origin
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
		if !strings.HasPrefix(line, "#") && line != "\n" {
			kept = append(kept, line)
		}
	}
	return kept
}
