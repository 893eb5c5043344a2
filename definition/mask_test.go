package definition_test

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
)

func TestMaskURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a.example/b.wasm":                                "https://a.example/b.wasm",
		"https://me:secret@a.example:1/b.wasm":                    "https://xxxxx@a.example:1/b.wasm",
		"https://secret@a.example/b":                              "https://xxxxx@a.example/b",
		"https://a.example/b?X-Amz-Date=1&X-Amz-Signature=secret": "https://a.example/b?X-Amz-Date=xxxxx&X-Amz-Signature=xxxxx",
		"https://a.example/b?secret":                              "https://a.example/b?xxxxx",
		"https://a.example/b?a=secret;b=secret&secret=":           "https://a.example/b?a=xxxxx&b=xxxxx&secret=xxxxx",
		"https://a.example/b?a=%zzsecret#secret":                  "https://a.example/b?a=xxxxx#xxxxx",
		"https://me:sec%zzret@a.example/b":                        "https://xxxxx",
		"https://me:secret@a.example:port/b":                      "https://xxxxx",
		"https:secret@a/b":                                        "https:xxxxx",
		"oci://user:secret@a/b:c":                                 "oci://xxxxx@a/b:c",
		"file:///a%20b.wasm":                                      "file:///a%20b.wasm",
		"file:a/b.wasm":                                           "file:a/b.wasm",
		"se\x00cret":                                              "xxxxx",
	} {
		if got := definition.MaskURL(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// TestURLProblemsHaveNoSecrets checks that a text that is not a URL is not
// shown.
func TestURLProblemsHaveNoSecrets(t *testing.T) {
	for _, url := range []string{"http://me:secret/word@a.example/a", "http://me:secret%zz@a.example/a", "http://a.example/%zsecret", "ftp://me:secret@a/b"} {
		_, problems := definition.Parser{}.Parse("f.yaml", fmt.Appendf(nil, "kind: WasmFilter\nname: a\nmodule: {url: %q}\n", url))
		if len(problems) == 0 || strings.Contains(problems[0].Error(), "secret") {
			t.Errorf("%s: %v", url, problems)
		}
	}
}
