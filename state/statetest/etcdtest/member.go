package etcdtest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"wasmxds/exectest"
)

// Member is one etcd of a cluster. Its methods must not be called concurrently.
type Member struct {
	t                         testing.TB
	path, dir                 string
	args                      []string
	address, endpoint, health string

	process *exectest.Process // nil: it was never started
}

// Address is where the member serves clients: host:port.
func (m *Member) Address() string { return m.address }

// Endpoint returns the URL of Address.
func (m *Member) Endpoint() string { return m.endpoint }

// PID returns the ID of the member's process.
func (m *Member) PID() int { return m.process.PID() }

// Kill kills the process, as kill -9 does, and waits until it has ended. Its data on disk
// stays.
func (m *Member) Kill() {
	m.t.Helper()
	if err := m.process.Running(); err != nil {
		m.t.Fatal(err)
	}
	m.process.Kill()
}

// Pause stops the process (SIGSTOP): its connections stay open, but it sends nothing.
func (m *Member) Pause() { m.t.Helper(); m.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (m *Member) Resume() { m.t.Helper(); m.signal(syscall.SIGCONT) }

// Restart starts a member that was killed, with its data on disk. It does not wait until
// the member is ready, which takes a majority; see Ready.
func (m *Member) Restart() {
	m.t.Helper()
	if err := m.run(); err != nil {
		m.t.Fatal(err)
	}
}

// Ready waits until the member serves and knows a leader.
func (m *Member) Ready() {
	m.t.Helper()
	if err := m.ready(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Member) run() error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	cmd := exec.Command(m.path, m.args...)
	cmd.Env = []string{} // etcd also reads flags from variables
	p, err := exectest.Start(cmd, filepath.Join(m.dir, "log"))
	if err != nil {
		return err
	}
	m.process = p
	return nil
}

func (m *Member) ready() error {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := m.process.Running(); err != nil {
			return err
		}
		resp, err := client.Get(m.health + "/readyz")
		if err != nil {
			last = err
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("/readyz: %s", resp.Status)
	}
	return fmt.Errorf("etcd is not ready after %v: %w\n%s", patience, last, m.process.Tail(20))
}
