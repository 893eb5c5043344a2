package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestFilters plays the FilterTests of the repository's Go filters. They are built by make filters.
func TestFilters(t *testing.T) { playFilters(t, "testdata/filters") }

func playFilters(t *testing.T, scripts string) {
	testscript.Run(t, testscript.Params{
		Dir:                 scripts,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			root, err := filepath.Abs("../..")
			e.Setenv("ROOT", root)
			return err
		},
	})
}
