package envoy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnvironment checks that an Envoy has the variables that it is given, and no other: a
// filter can read them with hostEnv.
func TestEnvironment(t *testing.T) {
	t.Setenv("OF_XDS_SERVER", "secret")
	program := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{nil, {"GIVEN=1"}} {
		p, err := start(t.Context(), program, t.TempDir(), Object{}, env)
		if err != nil {
			t.Fatal(err)
		}
		<-p.ended
		has := strings.Join(p.output.lines(0), "")
		if strings.Contains(has, "OF_XDS_SERVER") || strings.Contains(has, "GIVEN=1") != (env != nil) {
			t.Errorf("given %v, it has\n%s", env, has)
		}
	}
}
