package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// flaky is a package with a test that passes once its folder has a file "tried".
const flaky = `
-- go.mod --
module example

go 1.26
-- flaky/x_test.go --
package flaky

import (
	"os"
	"testing"
)

func TestX(t *testing.T) {
	t.Run("a (b)", func(t *testing.T) {
		if _, err := os.Stat("tried"); err != nil {
			t.Error(err, os.WriteFile("tried", nil, 0o600))
		}
	})
	t.Run("a", func(t *testing.T) { t.Error("another") })
}
-- wrong/x_test.go --
package wrong

import "testing"

func TestY(t *testing.T) { t.Error("always") }
`

func TestAgain(t *testing.T) {
	dir := t.TempDir()
	if err := txtar.Write(txtar.Parse([]byte(flaky)), dir); err != nil {
		t.Fatal(err)
	}
	first := failure{pkg: "example/flaky", test: "TestX/a_(b)"}
	wrong := failure{pkg: "example/wrong", test: "TestY"}
	for _, c := range []struct {
		name     string
		failures []failure
		want     string // of the output, or of the error
	}{
		{"too many", []failure{first, first, wrong}, "3 failures are too many"},
		{"a package", []failure{first, {pkg: "example/flaky"}}, "package example/flaky failed"},
		{"a target", []failure{first, {title: "make: *** [filters] Error 1"}}, "[filters] Error 1: no test of it has failed"},
		{"fails again", []failure{wrong}, "example/wrong TestY failed twice"},
		{"is not there", []failure{{pkg: "example/wrong", test: "TestZ"}}, "did not run it"},
		{"fails once", []failure{first}, "example/flaky TestX/a_(b) failed twice"},
		{"passes", []failure{first}, "FLAKY: example/flaky TestX/a_(b) failed, and passed when it ran alone\n"},
		{"one of two passes", []failure{first, wrong}, "example/wrong TestY failed twice"},
	} {
		var out bytes.Buffer
		err := again(t.Context(), &out, dir, c.failures, 2)
		got := out.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if (err == nil) != (c.name == "passes") {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}
