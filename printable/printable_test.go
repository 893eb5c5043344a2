package printable_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"wasmxds/printable"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "edge-1", "edge-1"},
		{"letters of all scripts", "Größe 東京 שלום مرحبا हिन्दी é 🚀", "Größe 東京 שלום مرحبا हिन्दी é 🚀"},
		{"backslashes", `C:\new`, `C:\new`},
		{"escape sequences", "\x1b]0;pwned\x07\x1b[31mred", `\x1b]0;pwned\x07\x1b[31mred`},
		{"line breaks and tabs", "a\nb\tc\rd\v\f\x00", `a\nb\tc\rd\x0b\x0c\x00`},
		{"DEL", "a\x7f", `a\u007f`},
		{"C1", "a\u009b31m\u0085", `a\u009b31m\u0085`},
		{"C1 as bytes", "a\x9b31m", `a\x9b31m`},
		{"embeddings and overrides", "\u202a\u202b\u202c\u202d\u202e", `\u202a\u202b\u202c\u202d\u202e`},
		{"isolates", "\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`},
		{"marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"separators", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"zero width", "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg", `a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg`},
		{"fillers", "a\u115f\u1160\u3164\uffa0\u034f\u180e\u2800", `a\u115f\u1160\u3164\uffa0\u034f\u180e\u2800`},
		{"other blanks", "a\u00a0b\u2003c\u3000d", `a\u00a0b\u2003c\u3000d`},
		{"variation selectors and tags", "a\ufe0f\U000e0041\U000e0100", `a\ufe0f\udb40\udc41\udb40\udd00`},
		{"invalid UTF-8", "a\xff\xc0\xafb\xe2\x80", `a\xff\xc0\xafb\xe2\x80`},
		{"a surrogate as bytes", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"the replacement character itself", "a\ufffd", "a\ufffd"},
		{"private use and noncharacters", "\ue000\uffff", `\ue000\uffff`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := printable.Text(c.text); got != c.want {
				t.Errorf("%+q, want %+q", got, c.want)
			}
			if is := printable.Is(c.text); is != (c.text == c.want) {
				t.Errorf("Is: %v", is)
			}
		})
	}
}

func TestWord(t *testing.T) {
	for text, want := range map[string]string{
		"edge-1":                    "edge-1",
		"edge-9   hello    running": `"edge-9   hello    running"`,
		"edge-9\thello":             `edge-9\thello`,
		`"a b" c`:                   `"\"a b\" c"`,
		"":                          "",
	} {
		if got := printable.Word(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestDocuments checks that JSON and double-quoted YAML keep their meaning
// through a Writer, and that the output is printable.
func TestDocuments(t *testing.T) {
	const text = "a\x1b\x7f\u009b\u202e\u2028\U000e0041\u200bé\n\t\\\"z"
	for name, codec := range map[string]struct {
		write func(any) ([]byte, error)
		read  func([]byte, any) error
	}{
		"JSON": {json.Marshal, json.Unmarshal},
		"YAML": {func(v any) ([]byte, error) {
			return yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: v.(string)})
		}, yaml.Unmarshal},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := codec.write(text)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := printable.NewWriter(&out).Write(doc); err != nil {
				t.Fatal(err)
			}
			if !printable.Is(strings.TrimSpace(out.String())) {
				t.Errorf("written: %+q", out.String())
			}
			var got string
			if err := codec.read(out.Bytes(), &got); err != nil || got != text {
				t.Errorf("%+q is read as %+q, %v", out.String(), got, err)
			}
		})
	}
}

// TestJSON checks that YAML parsers read any JSON like JSON parsers.
func TestJSON(t *testing.T) {
	var b strings.Builder
	for r := rune(0); r <= 0x3000; r++ {
		b.WriteRune(r)
	}
	b.WriteString("\ufeff\ufffd\ufffe\uffff\U0001f680\U000e0041\U0010ffff")
	doc, err := json.Marshal(b.String())
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := yaml.Unmarshal(printable.JSON(doc), &got); err != nil || got != b.String() {
		t.Errorf("%v; %+q", err, got)
	}
}

// FuzzText checks that the output is printable for any input, however it is
// divided into writes.
func FuzzText(f *testing.F) {
	f.Add("a\u202eb\xff\x1b[2J", 3)
	f.Add("é\xe2\x80", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		for _, r := range printable.Text(text) {
			if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || !utf8.ValidRune(r) {
				t.Fatalf("%+q has %U", text, r)
			}
		}
		var out bytes.Buffer
		w := printable.NewWriter(&out)
		cut = max(0, min(cut, len(text)))
		for _, part := range []string{text[:cut], text[cut:], "."} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got, want := out.String(), printable.Lines(text)+"."; got != want {
			t.Errorf("in two writes %+q, want %+q", got, want)
		}
	})
}
