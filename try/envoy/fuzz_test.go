package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"wasmxds/module/dryrun/stream"
)

// FuzzLog reads any lines as Envoy's log. What was read is the same when Envoy writes it.
func FuzzLog(f *testing.F) {
	for _, text := range []string{
		"12 warning wasm log hello: it's \\u00fc\\n\n13 info started\n", "12 error \"\n", "x\n\n", "1 info \n", "99999999999999999999 critical \\ud800\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l, again Log
		first := ""
		for line := range strings.Lines(text) {
			read, ok := l.Read(line)
			if !ok {
				continue
			}
			thread, _, _ := strings.Cut(line, " ")
			if first == "" {
				first = thread
			}
			if read.Main != (thread == first) || !slices.Contains([]string{"trace", "debug", "info", "warning", "error", "critical"}, read.Level) {
				t.Errorf("%q is read as %+v, and the main thread is %s", line, read, first)
			}
			if !utf8.ValidString(read.Text) {
				continue // Envoy escapes it otherwise
			}
			escaped, err := json.Marshal(read.Text)
			if err != nil {
				t.Fatal(err)
			}
			again.main = l.main // a line before may have been passed over
			written := fmt.Sprintf("%s %s %s\n", thread, read.Level, escaped[1:len(escaped)-1])
			if got, ok := again.Read(written); !ok || got != read {
				t.Errorf("%q is read as %+v, and %q as %+v", line, read, written, got)
			}
		}
	})
}

// FuzzMetrics reads any answer of Envoy's admin interface. What was read is the same when it is
// written again.
func FuzzMetrics(f *testing.F) {
	f.Add("wasmcustom.a: 1\nwasmcustom.b: c: 2\nother: 3\n")
	f.Add("wasmcustom.: \nwasmcustom\n: \n\nwasmcustom.h: P0(nan,1) P25(nan,2)\n")
	f.Add("wasmcustom.a: 18446744073709551616\nwasmcustom.a: -1")
	f.Fuzz(func(t *testing.T, body string) {
		for kind, metrics := range metricsIn(t, func(string) string { return body }) {
			if lines := strings.Count(body, "\n") + 1; len(metrics) > lines {
				t.Errorf("%d metrics in %d lines", len(metrics), lines)
			}
			var written strings.Builder
			for _, m := range metrics {
				fmt.Fprintf(&written, "wasmcustom.%s: %d\n", m.Name, m.Value)
			}
			again := metricsIn(t, func(asked string) string {
				if asked == kind {
					return written.String()
				}
				return ""
			})
			if !slices.Equal(again[kind], metrics) {
				t.Errorf("%q: read\n%+v, and then\n%+v", written.String(), metrics, again[kind])
			}
		}
	})
}

// metricsIn returns metrics by their kind.
func metricsIn(t *testing.T, body func(kind string) string) map[string][]stream.Metric {
	all, err := Metrics(t.Context(), func(_ context.Context, path string) ([]byte, error) {
		kind := strings.ToLower(strings.TrimSuffix(path[strings.LastIndex(path, "=")+1:], "s"))
		return []byte(body(kind)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string][]stream.Metric{}
	for _, m := range all {
		by[m.Type] = append(by[m.Type], m)
	}
	return by
}
