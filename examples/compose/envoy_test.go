// Package compose has the files that docker-compose.yaml mounts. Its tests hold
// them against xds-server, and with the build tag compose run the whole of it
// on a container engine (make compose-test).
package compose

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/e2e/harness"
)

var update = flag.Bool("update", false, "write envoy.yaml anew")

// TestBootstrap runs the command that is envoy.yaml's first line: the rest is
// what it prints.
func TestBootstrap(t *testing.T) {
	is, err := os.ReadFile("envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	command, _, _ := bytes.Cut(is, []byte("\n"))
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	program, err := harness.BuildServer(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(strings.TrimPrefix(string(command), "# xds-server "))
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	should := append(append(command, '\n'), out...)
	if *update {
		if err := os.WriteFile("envoy.yaml", should, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(should), string(is)); diff != "" {
		t.Errorf("envoy.yaml is not what its first line says (-should +is); go test ./examples/compose -update mends it:\n%s", diff)
	}
}
