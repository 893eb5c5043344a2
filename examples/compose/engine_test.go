//go:build compose

package compose

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// engine is a container engine, and how to talk with it.
type engine struct {
	env     []string // of the commands to it
	command []string // docker compose, or docker-compose
}

// startEngine returns the engine that runs here, or else one of its own, which
// ends with the test.
func startEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{
		env:     []string{"ENVOY_PORT=0", "ADMIN_PORT=0", "ENVOY_1_PORT=0", "ENVOY_2_PORT=0", "ADMIN_1_PORT=0", "ADMIN_2_PORT=0"}, // free ones
		command: []string{"docker-compose"},
	}
	if _, err := exec.LookPath("docker"); err != nil {
		t.Fatalf("%v\nhint: tools/docker.sh", err)
	}
	if _, err := e.run(t.Context(), "docker", "compose", "version"); err == nil {
		e.command = []string{"docker", "compose"}
	} else if _, err := exec.LookPath("docker-compose"); err != nil {
		t.Fatalf("%v\nhint: tools/docker.sh", err)
	}
	_, notRunning := e.run(t.Context(), "docker", "version")
	if notRunning == nil {
		return e
	}
	dockerd, err := exec.LookPath("dockerd")
	if err != nil || os.Getuid() != 0 {
		t.Fatalf("no container engine: %v\nhint: start Docker, or run this as root on a machine that has dockerd", notRunning)
	}
	e.own(t, dockerd)
	return e
}

// own starts a dockerd whose files are all in a temporary folder.
func (e *engine) own(t *testing.T, dockerd string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dockerd") // a socket's path must be short
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err)
	defer log.Close()
	socket := "unix://" + filepath.Join(dir, "socket")
	cmd := exec.Command(dockerd, "-H", socket, "--pidfile", filepath.Join(dir, "pid"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"))
	cmd.Stdout, cmd.Stderr = log, log
	// On SIGTERM it ends its containers and containerd as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("dockerd: %v\n%s", err, tail(log.Name()))
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("dockerd did not end within a minute of SIGTERM:\n%s", tail(log.Name()))
			<-ended
		}
	})
	e.env = append(e.env, "DOCKER_HOST="+socket)
	err = harness.Poll(t.Context(), time.Minute, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("dockerd ended: %v\n%s", err, tail(log.Name()))
		default:
		}
		_, err := e.run(t.Context(), "docker", "version")
		return err
	})
	if err != nil {
		t.Fatalf("dockerd: %v\n%s", err, tail(log.Name()))
	}
	t.Log("started a dockerd of its own")
}

// run runs a command against the engine and returns its output.
func (e *engine) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), e.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// has reports whether the engine has an image or can pull it.
func (e *engine) has(t *testing.T, image string) bool {
	t.Helper()
	if _, err := e.run(t.Context(), "docker", "image", "inspect", image); err == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	_, err := e.run(ctx, "docker", "pull", "--quiet", image)
	if err != nil {
		t.Logf("what needs %s is built without it: %v", image, err)
	}
	return err == nil
}

// build makes an image that is gone after the test.
func (e *engine) build(t *testing.T, image, dir string, args ...string) {
	t.Helper()
	_, err := e.run(t.Context(), "docker", append(append([]string{"build", "--quiet", "--tag", image}, args...), dir)...)
	must(t, err)
	t.Cleanup(func() {
		if _, err := e.run(context.Background(), "docker", "image", "rm", image); err != nil {
			t.Error(err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tail is the end of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}
