package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
)

// again runs failed tests once more, in dir, each on its own. It returns an error if
// they are more than most, if not all of them are tests, or if one fails again.
func again(ctx context.Context, w io.Writer, dir string, failures []failure, most int) error {
	if len(failures) > most {
		return fmt.Errorf("%d failures are too many to run them again", len(failures))
	}
	for _, f := range failures {
		if f.pkg == "" {
			return fmt.Errorf("%s: no test of it has failed", f.title)
		}
		if f.test == "" {
			return fmt.Errorf("package %s failed, not a test of it alone", f.pkg)
		}
	}
	for _, f := range failures {
		fmt.Fprintf(w, "== again: %s %s\n", f.pkg, f.test)
		log, err := runTest(ctx, dir, f)
		if err != nil {
			if _, err := w.Write(log); err != nil {
				return err
			}
			return fmt.Errorf("%s %s failed twice: %w", f.pkg, f.test, err)
		}
	}
	for _, f := range failures {
		fmt.Fprintf(w, "FLAKY: %s %s failed, and passed when it ran alone\n", f.pkg, f.test)
	}
	return nil
}

// runTest returns what the test printed, and an error unless it was run and passed.
func runTest(ctx context.Context, dir string, f failure) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=10m", "-v",
		"-tags=rust,compose,browser", "-run", pattern(f.test), f.pkg)
	cmd.Dir = dir
	log, err := cmd.CombinedOutput()
	if err == nil && !bytes.Contains(log, []byte("--- PASS: "+f.test+" (")) {
		err = fmt.Errorf("go test did not run it")
	}
	return log, err
}

// pattern matches that test alone, as go test's -run has it: by the elements of its name.
func pattern(test string) string {
	names := strings.Split(test, "/")
	for i, name := range names {
		names[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	return strings.Join(names, "/")
}
