package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

// TestUnit: what examples/systemd starts is a command that xds-server has, with
// flags that it has; and systemd, where it is, knows every setting.
func TestUnit(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	dir := t.TempDir()
	program, err := harness.BuildServer(t.Context(), root, dir)
	must(t, err)
	unit, err := os.ReadFile(filepath.Join(root, "examples", "systemd", "xds-server.service"))
	must(t, err)
	local := strings.ReplaceAll(string(unit), "/usr/local/bin/xds-server", program)
	cmd := exec.Command("/bin/sh", "-c", setting(t, local, "ExecStart")+" --help")
	for line := range strings.Lines(local) {
		if variable, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
			cmd.Env = append(cmd.Env, variable)
			name, _, _ := strings.Cut(strings.TrimPrefix(variable, "XDS_SERVER_"), "=")
			flag := " --" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + " "
			help, err := exec.Command(program, "serve", "--help").Output()
			must(t, err)
			if !strings.Contains(string(help), flag) {
				t.Errorf("%s: serve has no flag%s", variable, flag)
			}
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "serve --definitions DIR") {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
	if verify, err := exec.LookPath("systemd-analyze"); err == nil { // not on macOS, nor in containers
		path := filepath.Join(dir, "xds-server.service")
		must(t, os.WriteFile(path, []byte(local), 0o644))
		if out, err := exec.Command(verify, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

func setting(t *testing.T, unit, name string) string {
	t.Helper()
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return value
		}
	}
	t.Fatalf("the unit has no %s", name)
	return ""
}
