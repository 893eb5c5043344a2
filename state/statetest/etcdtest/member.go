package etcdtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Member is one etcd of a cluster. Its methods are for one goroutine.
type Member struct {
	t                         testing.TB
	path, dir                 string
	args                      []string
	address, endpoint, health string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Address is where it serves clients: host:port.
func (m *Member) Address() string { return m.address }

// Endpoint is the URL of Address.
func (m *Member) Endpoint() string { return m.endpoint }

// PID is the id of its process.
func (m *Member) PID() int { return m.cmd.Process.Pid }

// Kill ends it at once, as kill -9 does, and waits until it is gone. What it
// has on disk stays.
func (m *Member) Kill() {
	m.t.Helper()
	if err := m.running(); err != nil {
		m.t.Fatal(err)
	}
	m.kill()
}

// Pause stops its process (SIGSTOP): its connections stay, and nothing comes.
func (m *Member) Pause() { m.t.Helper(); m.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (m *Member) Resume() { m.t.Helper(); m.signal(syscall.SIGCONT) }

// Restart starts a member that was killed, with what it has on disk. It does
// not wait until the member is ready, which takes a majority; see Ready.
func (m *Member) Restart() {
	m.t.Helper()
	if err := m.run(); err != nil {
		m.t.Fatal(err)
	}
}

// Ready waits until the member serves: it knows a leader.
func (m *Member) Ready() {
	m.t.Helper()
	if err := m.ready(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Member) run() error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(m.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	m.cmd = exec.Command(m.path, m.args...)
	m.cmd.Env = []string{} // variables of etcd are flags, too
	m.cmd.Stdout, m.cmd.Stderr = out, out
	m.cmd.SysProcAttr = endWithParent()
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.path, err)
	}
	cmd, done := m.cmd, make(chan struct{})
	m.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return nil
}

func (m *Member) kill() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.done
}

// running is an error, with the end of the log, once the process has ended.
func (m *Member) running() error {
	select {
	case <-m.done:
		return fmt.Errorf("etcd ended: %v\n%s", m.cmd.ProcessState, m.tail())
	default:
		return nil
	}
}

func (m *Member) ready() error {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := m.running(); err != nil {
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
	return fmt.Errorf("etcd is not ready after %v: %w\n%s", patience, last, m.tail())
}

func (m *Member) log() string { return filepath.Join(m.dir, "log") }

// tail gives the last lines of the log.
func (m *Member) tail() string {
	b, err := os.ReadFile(m.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// freeAddress is one on loopback that is free now, below the ports that systems
// give to connections: a member that starts again finds it free.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}
