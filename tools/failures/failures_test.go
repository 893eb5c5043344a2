package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write testdata/report.txt anew")

// TestReport runs go test on packages that fail, each in its own way.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	packages, err := txtar.ParseFile("testdata/packages.txtar")
	if err == nil {
		err = txtar.Write(packages, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	log := goTest(t, dir, "./main", "./panics", "./tests", "./unbuilt", "./unvetted") + goTest(t, dir, "-timeout=1s", "./hangs")
	got := reported(t, log)
	got = strings.ReplaceAll(got, dir, "DIR")
	got = regexp.MustCompile(` \+0x[0-9a-f]+| \([0-9.]+s\)`).ReplaceAllString(got, "")
	const golden = "testdata/report.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, want, log)
	}
}

// goTest returns what go test prints of packages, of which each fails.
func goTest(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-v", "-p=1"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	log, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); !failed {
		t.Fatalf("go test: %v\n%s", err, log)
	}
	return string(log)
}

func reported(t *testing.T, log string) string {
	t.Helper()
	failures, err := read(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report(&out, failures); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestManyFailures: each of many is told with what it said last, or at least by name; and
// no more lines are printed than a screen has.
func TestManyFailures(t *testing.T) {
	for _, c := range []struct{ tests, messages, others int }{
		{6, 5, 0}, {15, 1, 0}, {39, 0, 0}, {100, 0, 61 + 1},
	} {
		var log strings.Builder
		for i := range c.tests {
			fmt.Fprintf(&log, "=== RUN   Test%d\n", i)
			for range 20 {
				fmt.Fprintf(&log, "    x_test.go:1: %s\n", strings.Repeat("x", 1000))
			}
			fmt.Fprintf(&log, "    x_test.go:2: the last\n--- FAIL: Test%d (0.00s)\n", i)
		}
		got := reported(t, log.String()+"FAIL\nFAIL\texample\t1s\n")
		if n := strings.Count(got, "\n"); n > maxLines {
			t.Errorf("%d failures are told in %d lines", c.tests, n)
		}
		if n := strings.Count(got, "--- FAIL: example Test"); n < min(c.tests, maxLines-2) {
			t.Errorf("of %d failures %d are told", c.tests, n)
		}
		if n := strings.Count(got, "the last"); (n == c.tests) != (c.messages > 0) {
			t.Errorf("of %d failures %d are told with what was said last", c.tests, n)
		}
		if others := fmt.Sprintf("… and %d lines more", c.others); strings.Contains(got, others) != (c.others > 0) {
			t.Errorf("of %d failures:\n%s", c.tests, got)
		}
	}
}

// TestTargets: what make could not make, and no test explains, is a failure of its own, so
// that a test which passes again does not make it good.
func TestTargets(t *testing.T) {
	const (
		fails   = "=== RUN   TestX\n    x_test.go:1: wrong\n--- FAIL: TestX (0.00s)\nFAIL\nFAIL\texample\t1s\nFAIL\n"
		server  = "make: *** [Makefile:43: test-server] Error 1\n"
		within  = "go: no such module\nmake[1]: *** [Makefile:9: test] Error 1\n"
		filters = "make: *** [Makefile:46: test-filters] Error 2\n"
		end     = "make: Target 'test' not remade because of errors.\n"
	)
	test, target := "--- FAIL: example TestX\n    x_test.go:1: wrong\n", filters
	for _, c := range []struct{ name, log, want string }{
		{"a test", fails + server + end, test},
		{"a test and something else", fails + server + within + filters + end, test + target},
		{"something else and a test", within + filters + fails + server + end, target + test},
		{"tests of both", fails + server + fails + within + filters + end, test + test},
		{"something else", within + filters + end, target},
	} {
		if got, want := reported(t, c.log), "== what failed\n"+c.want; got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

// TestNothingFailed: nothing is printed.
func TestNothingFailed(t *testing.T) {
	failures, err := read(strings.NewReader("== make lint\n=== RUN   TestX\n    x_test.go:1: all is well\n--- PASS: TestX (0.00s)\nPASS\nok  \texample\t0.1s\n"))
	if err != nil || len(failures) > 0 {
		t.Errorf("%+v, %v", failures, err)
	}
}

// TestCutShort: what had failed when the log ends is told.
func TestCutShort(t *testing.T) {
	got := reported(t, "=== RUN   TestX\n    x_test.go:1: wrong\n--- FAIL: TestX (0.00s)\n=== RUN   TestY\n")
	if !strings.Contains(got, "TestX\n    x_test.go:1: wrong\n") {
		t.Error(got)
	}
}
