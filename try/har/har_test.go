package har_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/try/har"
)

func written(b *strings.Builder, m definition.TestMessage) {
	for _, h := range m.Headers {
		fmt.Fprintf(b, "  %s: %s\n", h[0], h[1])
	}
	for _, piece := range m.Body {
		fmt.Fprintf(b, "  %q\n", piece)
	}
}

// TestRead reads archives in the ways in which browsers and proxies write them.
func TestRead(t *testing.T) {
	names, err := filepath.Glob("testdata/*.har")
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			exchanges, others, err := har.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, x := range exchanges {
				fmt.Fprintf(&b, "%s\n", x.Name)
				written(&b, x.Request)
				fmt.Fprintln(&b, " answered")
				written(&b, x.Response)
			}
			fmt.Fprintf(&b, "%d others\n", others)
			want, err := os.ReadFile(name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "line 1",
		"{\n\"log\": {,}}":         "line 2",
		"[]":                       "cannot unmarshal",
		"{}":                       "no log",
		`{"log":{"entries":[{}]}}`: "log.entries[0]: it has no request",
		`{"log":{"entries":[{"request":{"method":"A B","url":"http://a"}}]}}`:                                                       "not a method",
		`{"log":{"entries":[{"request":{"url":"http://a","postData":{"text":"%","encoding":"base64"}}}]}}`:                          "postData: its base64",
		`{"log":{"entries":[{"request":{"url":"http://a"},"response":{"status":200,"content":{"text":"%","encoding":"base64"}}}]}}`: "content: its base64",
		`{"log":{"entries":[` + strings.Repeat(`{"request":{}},`, har.MaxEntries) + `{"request":{}}]}}`:                             "entries",
	} {
		if _, _, err := har.Read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	if _, _, err := har.Read(make([]byte, har.MaxSize+1)); err == nil {
		t.Error("an archive of any size is read")
	}
}

func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.har")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		exchanges, _, err := har.Read(data)
		if err != nil {
			return
		}
		for _, x := range exchanges {
			if len(x.Request.Headers) < 4 {
				t.Errorf("incomplete: %+v", x)
			}
			for _, h := range append(x.Request.Headers, x.Response.Headers...) {
				if h[0] == "" || strings.ContainsAny(h[0]+h[1], "\r\n\x00") {
					t.Errorf("broken header %q", h)
				}
			}
		}
	})
}
