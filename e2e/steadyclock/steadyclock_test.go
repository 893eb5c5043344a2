package steadyclock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestAdvance: the clock of a process that runs goes ahead, and not that of others.
func TestAdvance(t *testing.T) {
	clock, err := New(filepath.Join(t.TempDir(), "clock.so"))
	if err != nil {
		t.Fatal(err)
	}
	ahead, real := start(t, clock.Env()), start(t)
	before := ahead()
	for n := range 2 {
		if err := clock.Advance(25 * time.Hour); err != nil {
			t.Fatal(err)
		}
		want := 90000 * float64(n+1)
		if got := ahead() - before; got < want || got > want+60 {
			t.Errorf("the clock is ahead by %v s, want %v s", got, want)
		}
	}
	if got := real(); got < before || got > before+60 {
		t.Errorf("the clock of another process is %v, was %v", got, before)
	}
}

// start runs a process that tells its clock when it is asked.
func start(t *testing.T, env ...string) (now func() float64) {
	t.Helper()
	cmd := exec.Command("python3", "-uc", "import sys, time\nfor _ in sys.stdin: print(time.monotonic())")
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(out)
	return func() (seconds float64) {
		t.Helper()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(line, &seconds); err != nil {
			t.Fatal(err)
		}
		return seconds
	}
}

// TestMachines: the code ends before what it reads, and reads that.
func TestMachines(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		m, err := machineOf(arch)
		if err != nil || codeAt+len(m.code) > offsetAt {
			t.Errorf("%s: %d bytes, %v", arch, len(m.code), err)
		}
	}
	if _, err := library("riscv64"); err == nil {
		t.Error("there is a library for riscv64")
	}
}
