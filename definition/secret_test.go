package definition_test

import (
	"strings"
	"testing"

	"wasmxds/definition"
)

// TestShownTogether checks that no text of a filter has a value from a Secret,
// and that another value is still seen.
func TestShownTogether(t *testing.T) {
	filter := func(from, given string) *definition.Filter {
		t.Helper()
		read := readObject(t, shop, objectHead+`"kind":"WasmFilter","spec":{"module":{"url":"https://a/b"}`+from+`}`+given+`}`)
		if read.File == nil {
			t.Fatal(read.Problems)
		}
		return read.File.Filters[0]
	}
	secret := func(value string) *definition.Filter {
		return filter(`,"configFrom":{"secret":{"name":"keys","key":"json"}}`, `,"given":{"value":"`+value+`"}`)
	}
	const (
		place = "configFrom: secret: name: keys key: json"
		note  = "# the value in Secret keys, key json is another one than before\n"
	)
	for _, c := range []struct {
		what         string
		from, to     *definition.Filter
		inFrom, inTo string
		note         string
	}{
		{what: "another value", from: secret("canary-1"), to: secret("canary-2"), inFrom: place, inTo: place, note: note},
		{what: "the same value", from: secret("canary-1"), to: secret("canary-1"), inFrom: place, inTo: place},
		{what: "new", to: secret("canary-1"), inTo: place},
		{what: "gone", from: secret("canary-1"), inFrom: place},
		{what: "moved to the Secret", from: filter(`,"config":"canary-1"`, ""), to: secret("canary-1"), inFrom: "not shown", inTo: place},
		{what: "configured for the first time", from: filter("", ""), to: secret("canary-1"), inTo: place},
		{what: "no longer secret", from: secret("canary-1"), to: filter(`,"config":"plain"`, ""), inFrom: place, inTo: "config: plain"},
		{what: "from a ConfigMap", from: filter(`,"configFrom":{"configMap":{"name":"keys","key":"json"}}`, `,"given":{"value":"map"}`), to: filter(`,"config":"b"`, ""), inFrom: "config: map", inTo: "config: b"},
	} {
		from, to, got := definition.ShownTogether(c.from, c.to)
		if got != c.note {
			t.Errorf("%s: the note is %q, want %q", c.what, got, c.note)
		}
		for _, side := range []struct {
			f    *definition.Filter
			want string
		}{{from, c.inFrom}, {to, c.inTo}} {
			if side.f == nil {
				continue
			}
			b, err := definition.Convert(&definition.File{Filters: []*definition.Filter{side.f}})
			text := strings.Join(strings.Fields(string(b)), " ")
			if err != nil || strings.Contains(text, "canary") || !strings.Contains(text, strings.Join(strings.Fields(side.want), " ")) {
				t.Errorf("%s: %v\n%s\nwant %s", c.what, err, b, side.want)
			}
		}
	}
}
