package rollout

import (
	"encoding/json"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestSecretTexts checks that a change of a filter whose configuration comes
// from a Secret shows that there is another value, and none of the values, after
// a restart as well.
func TestSecretTexts(t *testing.T) {
	item := func(value string) *Item {
		t.Helper()
		set := read(t, "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\nconfig: "+value+"\n")
		set.Filters[0].Definition.ConfigSecret = &definition.SecretKey{Name: "keys", Key: "json"}
		c, err := contentOf(set.Filters[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		i, err := readItem(b)
		if err != nil {
			t.Fatal(err)
		}
		if i.Value.(*module.Filter).Definition.Config == nil {
			t.Fatal("the configuration was not stored")
		}
		return i
	}
	one, two := item("canary-1"), item("canary-2")
	for _, c := range []struct {
		from, to *Item
		changed  bool
	}{{one, two, true}, {nil, one, false}, {one, nil, false}, {one, item("canary-1"), false}} {
		key := Key{FilterKind, "hello"}
		made := (&texts{diffs: []diff{{Key: key, From: c.from, To: c.to}}}).all()
		b, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); strings.Contains(s, "canary") || !strings.Contains(s, "configFrom") || strings.Contains(s, "another one than before") != c.changed {
			t.Errorf("%s", s)
		}
	}
}
