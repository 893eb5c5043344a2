package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
)

// TestUnsaved: status says that the state can't be written.
func TestUnsaved(t *testing.T) {
	d, err := openData(t.Context(), t.TempDir(), "", stateLocal, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if p := d.problems(); len(p) > 0 {
		t.Errorf("at first: %v", p)
	}
	if err := d.store.Close(); err != nil { // as good as a full disk
		t.Fatal(err)
	}
	d.own.View("").Put("a", 1)
	var p []definition.Problem
	for end := time.Now().Add(20 * time.Second); len(p) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p = d.problems()
	}
	if len(p) != 1 || !p[0].Warning || p[0].File != d.path("state.db") || !strings.Contains(p[0].Message, "it can't be written since ") {
		t.Errorf("of a state that can't be written: %v", p)
	}
}

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
