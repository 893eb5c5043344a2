package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestApart: nothing that xds-server writes is among the definitions, and no folder
// that it takes for its own is one of definitions.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "definitions"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data/definitions", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		data, definitions string
		ok                bool
	}{
		{"data", "definitions", true},
		{"data", "data-too", true},
		{"a/.data", "a", true}, // hidden ones are not read
		{"a/..data", "a", true},
		{"a/data", "a", false},
		{"a", "a", false},
		{"data", "data/mine", true},
		{"data", "data/definitions", false},
		{"data", "data/definitions/mine", false},
		{"data", "link", false},
		{"data", "link/mine", false},
	} {
		err := apart(filepath.Join(dir, test.data), filepath.Join(dir, test.definitions))
		if (err == nil) != test.ok {
			t.Errorf("--data %s --definitions %s: %v", test.data, test.definitions, err)
		}
	}
}
