package definition_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
)

// TestConfigFile checks that the file that a filter names is its configuration,
// in any format, and that a missing one is reported at the line that names it.
func TestConfigFile(t *testing.T) {
	there := map[string]string{"/d/sub/hello.conf": "a: text\n", "/d/up.conf": "up", "/d/sub/bad.conf": "\xff"}
	read := func(path string, limit int64) ([]byte, string) {
		text, is := there[path]
		switch {
		case !is:
			return nil, "is not there"
		case int64(len(text)) > limit:
			return nil, "is too large"
		}
		return []byte(text), ""
	}
	filter := func(lines string) string { return "kind: WasmFilter\nname: a\nmodule: {url: a.wasm}\n" + lines }
	for _, c := range []struct{ file, written, want, problem string }{
		{"f.yaml", filter("configFrom: {file: hello.conf}\n"), "a: text\n", ""},
		{"f.yaml", filter("configFrom:\n  file: ../up.conf\n"), "up", ""},
		{"f.yaml", filter("configFrom: {file: ./hello.conf}\n"), "a: text\n", ""},
		{"f.json", `{"kind":"WasmFilter","name":"a","module":{"url":"a.wasm"},"configFrom":{"file":"hello.conf"}}`, "a: text\n", ""},
		{"f.yaml", "apiVersion: wasmxds.dev/v1alpha1\nkind: WasmFilter\nmetadata: {name: a}\nspec:\n  module: {url: a.wasm}\n  configFrom: {file: hello.conf}\n", "a: text\n", ""},
		{"f.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: wasmxds.dev/v1alpha1\n  kind: WasmFilter\n  metadata: {name: a}\n  spec:\n    module: {url: a.wasm}\n    configFrom: {file: hello.conf}\n", "a: text\n", ""},
		{"f.yaml", "# configFrom\n---\n" + filter("configFrom: {file: hello.conf}\n"), "a: text\n", ""},
		{"f.yaml", filter("configFrom:\n  file: other.conf\n"), "", "/d/sub/f.yaml:5: configFrom.file: other.conf is not there"},
		{"f.yaml", filter("configFrom: {file: bad.conf}\n"), "", "f.yaml:4: configFrom.file: bad.conf is no text"},
		{"f.yaml", filter("configFrom: {file: .hello.conf}\n"), "", "is hidden"},
		{"f.yaml", filter("configFrom: {file: ..data/hello.conf}\n"), "", "is hidden"},
		{"f.yaml", filter("configFrom: {file: hello.json}\n"), "", "would be read as definitions itself; name it otherwise, as hello.conf"},
		{"f.yaml", filter("configFrom: {file: ''}\n"), "", "f.yaml:4: configFrom.file: is empty"},
		{"f.yaml", filter("config: x\nconfigFrom: {file: hello.conf}\n"), "", "can't be combined with config"},
		{"f.yaml", filter("configFrom: {file: hello.conf, secret: {name: a, key: b}}\n"), "", "needs file, secret or configMap, one of them"},
		{"f.yaml", filter("configFrom: {}\n"), "", "needs file, secret or configMap, one of them"},
	} {
		name := "/d/sub/" + c.file
		data := definition.WithConfigFiles(name, []byte(c.written), read)
		got := definition.Parser{}.Read(name, data)
		if c.problem != "" {
			if len(got.Problems) == 0 || !strings.Contains(got.Problems[0].Error(), c.problem) {
				t.Errorf("%s\n%v, want %s", c.written, got.Problems, c.problem)
			}
			continue
		}
		if got.File == nil {
			t.Errorf("%s\n%v", c.written, got.Problems)
			continue
		}
		var text wrapperspb.StringValue
		if err := proto.Unmarshal(got.File.Filters[0].Config.GetValue(), &text); err != nil || text.Value != c.want {
			t.Errorf("%s\n%q %v, want %q", c.written, text.Value, err, c.want)
		}
	}
}

// TestConfigFileElsewhere checks that a file is an error if there is no folder.
func TestConfigFileElsewhere(t *testing.T) {
	got := definition.Parser{}.ReadFrom("etcd a", "", []byte("kind: WasmFilter\nname: a\nmodule: {url: https://a/a.wasm}\nconfigFrom: {file: a.conf}\n"))
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Error(), "configFrom.file: is for definitions in a directory") {
		t.Error(got.Problems)
	}
	got = definition.Parser{}.ReadObject("WasmFilter shop/a", definition.Scope{Namespace: "shop"},
		[]byte(`{"apiVersion":"wasmxds.dev/v1alpha1","kind":"WasmFilter","metadata":{"name":"a","namespace":"shop"},"spec":{"module":{"url":"https://a/a.wasm"},"configFrom":{"file":"a.conf"}}}`))
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Error(), "configFrom.file: is for definitions in a directory") {
		t.Error(got.Problems)
	}
}

// TestConfigFilesAreBounded checks that all files together are at most as large
// as one file may be.
func TestConfigFilesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 16 {
		b.WriteString("---\nkind: WasmFilter\nname: a" + string(rune('a'+i)) + "\nmodule: {url: a.wasm}\nconfigFrom: {file: " + string(rune('a'+i)) + ".conf}\n")
	}
	data := definition.WithConfigFiles("/d/f.yaml", []byte(b.String()), func(_ string, limit int64) ([]byte, string) {
		return []byte(strings.Repeat("x", int(limit))), ""
	})
	if len(data) > definition.MaxSize {
		t.Errorf("%d bytes", len(data))
	}
}
