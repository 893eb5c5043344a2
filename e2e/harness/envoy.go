package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wasmxds/exectest"
	"wasmxds/try/envoy"
)

// Binary is an Envoy program.
type Binary = envoy.Binary

// ErrNoEnvoy is returned where no Envoy is to be found.
var ErrNoEnvoy = errors.New("no Envoy here: run `make tools`, or set ENVOY=/path/to/envoy")

// Envoys finds the Envoys to test with: the one that $ENVOY names, else all
// below root's .tools, oldest first, else the one on PATH.
func Envoys(ctx context.Context, root string) ([]Binary, error) {
	var paths []string
	if path := os.Getenv("ENVOY"); path != "" {
		paths = []string{path}
	} else if found, _ := filepath.Glob(filepath.Join(root, ".tools", "envoy-*", "envoy")); len(found) > 0 {
		paths = found // versions of one length: Glob's order is theirs
	} else if path, err := exec.LookPath("envoy"); err == nil {
		paths = []string{path}
	}
	var all []Binary
	for _, path := range paths {
		binary, err := envoy.Find(ctx, path)
		if err != nil {
			return nil, err
		}
		all = append(all, binary)
	}
	if len(all) == 0 {
		return nil, ErrNoEnvoy
	}
	return all, nil
}

// Root is the folder of the project's go.mod, at or above the working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod at or above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}

// EnvoyConfig says what to start.
type EnvoyConfig struct {
	Binary    Binary
	Dir       string   // for its log and other files
	Bootstrap []byte   // YAML or JSON; the admin address is to have port 0
	LogLevel  string   // "": warning
	Workers   int      // 0: one
	Args      []string // further flags
	Env       []string // further variables of its environment
}

// Envoy is a running Envoy.
type Envoy struct {
	config EnvoyConfig
	proc   *exectest.Process
	admin  string // its address

	// Started is when the process was.
	Started time.Time
}

// StartEnvoy returns once Envoy's admin interface answers, which is before it
// is ready.
func StartEnvoy(ctx context.Context, config EnvoyConfig) (*Envoy, error) {
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(config.Dir, "bootstrap.yaml"), config.Bootstrap, 0o644); err != nil {
		return nil, err
	}
	e := &Envoy{config: config}
	return e, e.Start(ctx)
}

// Start starts an Envoy again that was killed.
func (e *Envoy) Start(ctx context.Context) error {
	level, workers := e.config.LogLevel, e.config.Workers
	if level == "" {
		level = "warning"
	}
	if workers == 0 {
		workers = 1
	}
	admin := filepath.Join(e.config.Dir, "admin")
	if err := os.Remove(admin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	e.Started = time.Now()
	var err error
	args := append([]string{"--config-path", filepath.Join(e.config.Dir, "bootstrap.yaml"),
		"--use-dynamic-base-id", "--concurrency", strconv.Itoa(workers),
		"--admin-address-path", admin, "--log-level", level}, e.config.Args...)
	cmd := exec.CommandContext(ctx, e.config.Binary.Path, args...)
	cmd.Env = append(cmd.Environ(), e.config.Env...)
	e.proc, err = exectest.Start(cmd, e.Log())
	if err != nil {
		return err
	}
	err = Poll(ctx, time.Minute, func() error {
		if err := e.proc.Running(); err != nil {
			return err
		}
		address, err := os.ReadFile(admin)
		if err != nil {
			return err
		}
		e.admin = string(address)
		_, err = e.Get(ctx, "/server_info")
		return err
	})
	if err != nil {
		e.Kill()
		return fmt.Errorf("envoy %s: %w", e.config.Binary.Version, err)
	}
	return nil
}

// Kill ends Envoy at once, as kill -9 does.
func (e *Envoy) Kill() { e.proc.Kill() }

// Running is nil while the process runs; after that it has the end of the log.
func (e *Envoy) Running() error { return e.proc.Running() }

// Log is the file that Envoy's output goes to.
func (e *Envoy) Log() string { return filepath.Join(e.config.Dir, "envoy.log") }

// PID is the process's id.
func (e *Envoy) PID() int { return e.proc.PID() }

// Memory is the process's resident memory in bytes.
func (e *Envoy) Memory() (int64, error) {
	pid := strconv.Itoa(e.proc.PID())
	if status, err := os.ReadFile(filepath.Join("/proc", pid, "status")); err == nil {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				return kb << 10, err
			}
		}
	}
	out, err := exec.Command("ps", "-o", "rss=", "-p", pid).Output()
	if err != nil {
		return 0, fmt.Errorf("memory of process %s: %w", pid, err)
	}
	kb, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return kb << 10, err
}
