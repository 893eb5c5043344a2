package document

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one reads a single document without problems.
func one(t *testing.T, yaml string) *Node {
	t.Helper()
	docs, problems := YAML([]byte(yaml))
	if len(docs) != 1 || len(problems) != 0 {
		t.Fatalf("%d documents, %v", len(docs), problems)
	}
	return docs[0]
}

func TestJSONForm(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"{b: 1, a: [x, null, true, ~]}", `{"a":["x",null,true,null],"b":1}`},
		{"0x10", "16"},
		{"1_000", "1000"},
		{"1.50", "1.5"},
		{"1e3", "1000"},
		{"18446744073709551615", "18446744073709551615"},
		{"-9223372036854775808", "-9223372036854775808"},
		{".inf", `".inf"`},
		{"2026-01-01", `"2026-01-01"`},
		{"yes", `"yes"`},
		{"'<a> & \"b\"\\'", `"<a> & \"b\"\\"`},
		{"&a [&b x, *b]", `["x","x"]`},
		{"{&k a: 1, *k : 2}", ""}, // the same key twice
		{"é", `"é"`},
	} {
		docs, problems := YAML([]byte(c.yaml))
		if c.want == "" {
			if len(problems) == 0 {
				t.Errorf("%s: no problem", c.yaml)
			}
			continue
		}
		if len(problems) != 0 || len(docs) != 1 {
			t.Errorf("%s: %d documents, %v", c.yaml, len(docs), problems)
			continue
		}
		if got := string(docs[0].JSON()); got != c.want {
			t.Errorf("%s: %s, want %s", c.yaml, got, c.want)
		}
	}
}

func TestLineOf(t *testing.T) {
	n := one(t, "a:\n  b:\n  - c: 1\n  - c: 2\n    d: x\n")
	for path, want := range map[string]int{
		"": 1, "a": 1, "a.b": 2, "a.b[0]": 3, "a.b[1].c": 4, "a.b[1].d": 5,
		"a.b[1].missing": 4, "a.b[7]": 2, "missing.b": 1,
	} {
		if got := n.LineOf(path); got != want {
			t.Errorf("%s: line %d, want %d", path, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	n := one(t, "httpFilters: [{typed_config: {statPrefix: x}}]")
	if got, want := n.Locate([]string{"http_filters", "0", "typed_config", "stat_prefix"}), "httpFilters[0].typed_config.statPrefix"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := n.Locate([]string{"http_filters", "0", "other_field", "1"}), "httpFilters[0].other_field[1]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestLocateOne checks one item in place of a list of one, which Envoy accepts.
func TestLocateOne(t *testing.T) {
	n := one(t, "filterChains: {filters: {name: x}}")
	if got, want := n.Locate([]string{"filter_chains", "0", "filters", "0", "name"}), "filterChains.filters.name"; got != want || n.At(got).Text != "x" {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := n.Locate([]string{"other", "0", "name"}), "other[0].name"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLines(t *testing.T) {
	n := one(t, "a: 1\nb:\n- x\n- {c: 2}\n")
	text, places := n.Lines(nil)
	lines := strings.Split(string(text), "\n")
	if len(lines) != len(places) {
		t.Fatalf("%d lines, %d places", len(lines), len(places))
	}
	var got []string
	for i, p := range places {
		got = append(got, strings.TrimLeft(lines[i], ",")+" is "+p.Path)
	}
	want := []string{"{ is ", `"a":1, is a`, `"b":[ is b`, `"x", is b[0]`, "{ is b[1]", `"c":2 is b[1].c`, "} is b[1]", "] is b", "} is "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	text, _ = n.Lines(map[*Node]bool{n.Get("b"): true})
	if got := strings.Join(strings.Fields(string(text)), ""); got != `{"a":1}` {
		t.Errorf("with b left out: %s", got)
	}
}

func TestDecode(t *testing.T) {
	type part struct {
		Number uint8 `json:"number"`
	}
	type whole struct {
		Text  string            `json:"text" jsonschema:"required,enum=a,enum=b"`
		Flag  *bool             `json:"flag"`
		Parts []part            `json:"parts"`
		Map   map[string]string `json:"map"`
		Any   *Node             `json:"any"`
		Gone  *Node             `json:"gone" refuse:"is gone"`
	}
	var w whole
	n := one(t, "text: a\nflag: true\nparts: [{number: 255}]\nmap: {k: v}\nany: [1]\ngone: null\n")
	if problems := n.Decode(&w, ""); len(problems) != 0 {
		t.Fatal(problems)
	}
	if w.Text != "a" || w.Flag == nil || !*w.Flag || w.Parts[0].Number != 255 || w.Map["k"] != "v" || string(w.Any.JSON()) != "[1]" {
		t.Errorf("%+v", w)
	}
	n = one(t, "flag: 1\nparts:\n- number: 256\n- {nubmer: 1}\n- x\nmap: {k: 1}\ngone: 1\ntxet: a\n")
	want := []Problem{
		{Line: 1, Field: "at.flag", Message: "a number, needs true or false"},
		{Line: 3, Field: "at.parts[0].number", Message: "256, needs a whole number from 0 to 255"},
		{Line: 4, Field: "at.parts[1].nubmer", Message: "unknown field", Hint: "did you mean number?"},
		{Line: 5, Field: "at.parts[2]", Message: "text, needs a mapping"},
		{Line: 6, Field: "at.map.k", Message: "a number, needs text", Hint: `put it in quotes: "1"`},
		{Line: 7, Field: "at.gone", Message: "is gone"},
		{Line: 8, Field: "at.txet", Message: "unknown field", Hint: "did you mean text?"},
		{Line: 1, Field: "at.text", Message: "is missing"},
	}
	if diff := cmp.Diff(want, n.Decode(&w, "at")); diff != "" {
		t.Error(diff)
	}
}

// TestBounds reads files that are crafted to take much time or memory.
func TestBounds(t *testing.T) {
	for name, data := range map[string]string{
		"size":         strings.Repeat("#", MaxSize+1),
		"depth":        strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1),
		"nodes":        "[" + strings.Repeat("1,", MaxNodes) + "1]",
		"not text":     "a: \xff",
		"deep mapping": strings.Repeat("? ", 10_000) + "a",
	} {
		for form, read := range map[string]func([]byte) ([]*Node, []Problem){"YAML": YAML, "JSON": JSON} {
			if docs, problems := read([]byte(data)); len(problems) == 0 {
				t.Errorf("%s as %s: no problem, %d documents", name, form, len(docs))
			}
		}
	}
}

// FuzzJSON checks that the JSON form of what is read is read as the same.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{"a: [1, {b: c}]", `{"a":"\ud83d\ude00"}`, "&a [*a]", "x: !!binary aGk=", "- 1.5\n- .nan"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, problems := YAML(data)
		if len(problems) != 0 {
			return
		}
		for _, n := range docs {
			again, problems := JSON(n.JSON())
			if len(problems) != 0 || len(again) != 1 {
				t.Fatalf("%s: %v", n.JSON(), problems)
			}
			if !bytes.Equal(again[0].JSON(), n.JSON()) {
				t.Fatalf("%s became %s", n.JSON(), again[0].JSON())
			}
		}
	})
}
