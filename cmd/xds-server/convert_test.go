package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestConvertLarge: a config_dump of 100 MB costs no more than what a file may have,
// and the error says how to go on.
func TestConvertLarge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config_dump.json")
	if err := os.WriteFile(name, []byte(`{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 100<<20); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := (&convertFlags{path: name}).run(io.Discard, io.Discard)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "/config_dump?resource=") {
		t.Errorf("got %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
		t.Errorf("it took %d bytes", took)
	}
}
