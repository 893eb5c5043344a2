package exectest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sh starts a shell script.
func sh(t *testing.T, log, script string) *Process {
	t.Helper()
	p, err := Start(exec.Command("sh", "-c", script), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// until waits until the last line of a process is word.
func until(t *testing.T, p *Process, word string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); p.Tail(1) != word; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it says %q, want %q", p.Tail(1), word)
		}
	}
}

// TestProcess checks what is known of a process while it runs and when it has ended, and
// that the log keeps the output of earlier ones.
func TestProcess(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := sh(t, log, "echo one; echo two >&2; exec sleep 300")
	until(t, p, "two")
	if err := p.Running(); err != nil {
		t.Error(err)
	}
	p.Kill()
	p.Kill()
	if err := p.Running(); err == nil || err.Error() != "sh ended: signal: killed\none\ntwo" {
		t.Errorf("after Kill: %v", err)
	}
	if err := syscall.Kill(p.PID(), 0); err != syscall.ESRCH {
		t.Errorf("process %d is there: %v", p.PID(), err)
	}
	p = sh(t, log, "echo three; exit 3")
	<-p.done
	if err := p.Running(); err == nil || err.Error() != "sh ended: exit status 3\none\ntwo\nthree" {
		t.Errorf("it ended by itself: %v", err)
	}
	if err := p.Stop(time.Second); err != nil {
		t.Errorf("stop what has ended: %v", err)
	}
}

// TestStop checks that a process that doesn't end on request is killed.
func TestStop(t *testing.T) {
	for script, stubborn := range map[string]bool{
		"echo up; exec sleep 300":                            false,
		"trap '' TERM; echo up; while :; do sleep 0.1; done": true,
	} {
		p := sh(t, filepath.Join(t.TempDir(), "log"), script)
		until(t, p, "up")
		patience := 30 * time.Second
		if stubborn {
			patience = 300 * time.Millisecond
		}
		if err := p.Stop(patience); (err != nil) != stubborn {
			t.Errorf("%s: %v", script, err)
		}
		if p.Running() == nil {
			t.Errorf("%s: it runs", script)
		}
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"1.2.0", "1.3.0"} {
		if err := os.MkdirAll(filepath.Join(root, ".tools", "a-tool-"+version, "a-tool"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	below := filepath.Join(root, "some", "folder")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	t.Setenv("A_TOOL", "")
	if got, err := Find("a-tool"); err != nil || !strings.HasSuffix(got, "/.tools/a-tool-1.3.0/a-tool") {
		t.Errorf("found %s, %v", got, err)
	}
	if got, err := Find("no-tool"); err == nil || err.Error() != "no no-tool here: run `make no-tool`, or set NO_TOOL=/path/to/no-tool" {
		t.Errorf("found %s, %v", got, err)
	}
	t.Setenv("A_TOOL", "/mine")
	if got, err := Find("a-tool"); err != nil || got != "/mine" {
		t.Errorf("found %s, %v", got, err)
	}
}
