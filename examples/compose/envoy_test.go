// Package compose has the files that docker-compose.yaml mounts. Its tests hold
// them against xds-server, and with the build tag compose run the whole of it, and
// examples/compose-etcd, on a container engine (make compose-test).
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

// TestBootstrap runs the commands that are the first line of each envoy.yaml: the rest
// is what they print.
func TestBootstrap(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	program, err := harness.BuildServer(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"envoy.yaml", "../compose-etcd/envoy.yaml"} {
		is, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		command, _, _ := bytes.Cut(is, []byte("\n"))
		args := strings.Fields(strings.TrimPrefix(string(command), "# xds-server "))
		out, err := exec.CommandContext(t.Context(), program, args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		should := append(append(command, '\n'), out...)
		if *update {
			if err := os.WriteFile(file, should, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(should), string(is)); diff != "" {
			t.Errorf("%s is not what its first line says (-should +is); go test ./examples/compose -update mends it:\n%s", file, diff)
		}
	}
}
