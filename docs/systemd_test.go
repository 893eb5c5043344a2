package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestSystemd: xds-server can be started as a service, as examples/systemd and
// production.md say.
func TestSystemd(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	program, err := harness.BuildServer(t.Context(), root, t.TempDir())
	must(t, err)
	t.Run("unit", func(t *testing.T) { testUnit(t, root, program) })
	t.Run("settings", func(t *testing.T) { testSettings(t, root, program) })
}

// testUnit: what examples/systemd starts is a command that xds-server has, with
// flags that it has; and systemd, where it is, knows every setting.
func testUnit(t *testing.T, root, program string) {
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
		path := filepath.Join(t.TempDir(), "xds-server.service")
		must(t, os.WriteFile(path, []byte(local), 0o644))
		if out, err := exec.Command(verify, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

// testSettings: xds-server starts with the settings that production.md shows, at
// addresses and with files of this machine.
func testSettings(t *testing.T, root, program string) {
	dir := t.TempDir()
	certs, definitions, addresses := filepath.Join(dir, "certs"), filepath.Join(dir, "definitions"), filepath.Join(dir, "addresses.json")
	must(t, os.Mkdir(definitions, 0o755))
	if out, err := exec.Command(program, "certs", "--out", certs).CombinedOutput(); err != nil {
		t.Fatalf("certs: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "production.md"))
	must(t, err)
	here := strings.NewReplacer("10.0.0.5:18000", "127.0.0.1:0", "10.0.0.5:18001", "127.0.0.1:0",
		"/etc/wasmxds/tls", certs, "%d", certs, "/opt/filters", dir)
	var settings []string
	for line := range strings.Lines(string(text)) {
		if s := strings.TrimPrefix(strings.TrimSpace(line), "Environment="); strings.HasPrefix(s, "XDS_SERVER_") {
			settings = append(settings, here.Replace(s))
		}
	}
	if len(settings) < 8 {
		t.Fatalf("production.md has only %q", settings)
	}

	cmd := exec.CommandContext(t.Context(), program, "serve", "--definitions", definitions, "--data", filepath.Join(dir, "data"),
		"--admin-listen", "127.0.0.1:0", "--addresses-file", addresses)
	cmd.Env = settings
	var log strings.Builder
	cmd.Stderr = &log
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(addresses); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("with %q: %v\n%s", settings, err, &log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("no addresses after a minute")
		}
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, &log)
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
