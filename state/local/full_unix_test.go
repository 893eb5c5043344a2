//go:build unix

package local

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"wasmxds/state"
)

// TestFull writes until the disk is full, and again when there is space, and checks that
// nothing written earlier is lost. It needs a process of its own, because the limit holds
// for a whole process.
func TestFull(t *testing.T) {
	if os.Getenv("WASMXDS_TEST_FULL") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFull$", "-test.v")
		cmd.Env = append(os.Environ(), "WASMXDS_TEST_FULL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	small := was
	small.Cur = 256 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; n < 1000; n++ {
		if _, err := s.Put(t.Context(), fmt.Sprint(n), make([]byte, 5000), 0); err != nil {
			t.Log(err)
			break
		}
	}
	if n == 0 || n == 1000 {
		t.Fatalf("%d entries had room", n)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), []state.Op{{Key: fmt.Sprint(n), Value: make([]byte, 5000)}}); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	if entries := listed(t, s, ""); len(entries) != n+1 {
		t.Errorf("%d entries, want %d", len(entries), n+1)
	}
}
