package resource

import (
	"encoding/json"
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"

	"wasmxds/definition"
)

// TestRenderFormatsAgree checks that JSON has the same content as YAML, which
// the golden files show.
func TestRenderFormatsAgree(t *testing.T) {
	for _, file := range []string{"testdata/web.yaml", "testdata/raw.yaml", "testdata/nodes.yaml"} {
		set, nodes := read(t, file)
		c, _ := Compile(nil, Sets{Base: set}, opts)
		for _, n := range append(nodes, definition.Node{ID: "nobody"}) {
			var fromJSON, fromYAML any
			if err := json.Unmarshal(render(t, c.Snapshot(n, ""), JSON), &fromJSON); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(render(t, c.Snapshot(n, ""), YAML), &fromYAML); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(fromYAML) // to get the same types of numbers
			if err != nil {
				t.Fatal(err)
			}
			var normal any
			if err := json.Unmarshal(again, &normal); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(fromJSON, normal) {
				t.Errorf("%s, node %s: JSON and YAML differ", file, n.ID)
			}
		}
	}
}

func render(t *testing.T, s *Snapshot, format Format) []byte {
	t.Helper()
	text, err := Render(s, format)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRenderUnknownFormat(t *testing.T) {
	if _, err := Render(new(Snapshot), "toml"); err == nil {
		t.Error("no error")
	}
}
