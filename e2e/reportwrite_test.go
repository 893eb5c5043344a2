package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestReport writes a report of made-up counts twice: what is around the
// tables stays, and the second replaces the first.
func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "swap.md")
	write := func(requests int) string {
		t.Helper()
		n := newCounts("before")
		r := swapResult{swaps: 2, counts: harness.Counts{Requests: requests, Refused: 1, Failed: 2}, took: []time.Duration{time.Second}, fetches: 3}
		n.addOurs("module", newest(), r)
		r.lost = 2
		n.addTheirs("module", newest(), r)
		n.addMemory(memoryCount{c: newest(), swaps: 4, vms: 3, vmsAfter: 3, rss: 1 << 20, rssAfter: 3 << 19})
		for _, s := range reported {
			n.scenes[s.test] = &sceneCount{envoys: []string{"one"}, Counts: harness.Counts{Requests: requests}}
		}
		must(t, n.write(file))
		text, err := os.ReadFile(file)
		must(t, err)
		return string(text)
	}
	must(t, os.WriteFile(file, []byte(strings.Join([]string{"before\n", reportBegin("swaps"), "old\n", reportEnd, "between\n", reportBegin("memory"), reportEnd,
		reportBegin("scenes"), "old\n", reportEnd, "after\n"}, "")), 0o644))
	write(7)
	got := write(1234)
	c := newest().String()
	for _, want := range []string{
		"before\n" + reportBegin("swaps"), "|\n\n" + reportEnd + "between\n" + reportBegin("memory"), reportEnd + "after\n",
		"| module | " + c + " | 2 | 1234 | 3 | 0 | 1.50 | 1000 ms | 1000 ms | 2 | 2 | 1234 | 3 | 0 |\n",
		"| " + c + " | 4 | 0 | 0 | 0 | 3 → 3 | 1.0 → 1.5 MiB |\n",
		"| one | `TestDropIn` | 1234 | 0 | 0 |\n",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("want once: %s\ngot %s", want, got)
		}
	}
	if strings.Contains(got, "old") || strings.Contains(got, "| 7 |") {
		t.Errorf("what was there is still there: %s", got)
	}
}

// TestReportedTests: the report is of tests that there are.
func TestReportedTests(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		all.Write(text)
	}
	for _, r := range reported {
		if !strings.Contains(all.String(), "\nfunc "+r.test+"(t *testing.T)") {
			t.Errorf("there is no %s", r.test)
		}
	}
}
