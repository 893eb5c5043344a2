package dryrun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/state/statetest"
)

// assemble puts a module into the store.
func (r *runner) assemble(t *testing.T, f wasmtest.Filter) module.Info {
	t.Helper()
	info, err := r.options.Store.Put(bytes.NewReader(f.Module()), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// What a module takes is taken from its own process, and it is tried once.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("they take as much as they may")
	}
	for name, test := range map[string]struct {
		module wasmtest.Filter
		errs   []string // one of them
	}{
		"memory": {wasmtest.Filter{Bomb: wasmtest.LargeTables}, []string{"dry run: it takes more than 1024 MiB of memory to compile and start it"}},
		// Which limit it meets first depends on how fast the machine compiles.
		"time": {wasmtest.Filter{Fault: wasmtest.SpinInConfigure, Bomb: wasmtest.SlowCode}, []string{
			"dry run: 2s of CPU time are not enough to compile and start it", "dry run: it has not started after 1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			process := statetest.Start(t, dir)
			r := newRunner(t, Options{Time: time.Second, State: process.Writer})
			m := r.assemble(t, test.module)
			err := r.tried(t, m)
			if _, verdict := errors.AsType[*module.ContentError](err); !verdict || !slices.ContainsFunc(test.errs, func(s string) bool { return strings.HasPrefix(err.Error(), s) }) {
				t.Fatalf("got %v", err)
			}
			if err := r.tried(t, r.modules["memory"]); err != nil {
				t.Errorf("another module: %v", err)
			}
			process.End()
			after := newRunner(t, Options{Time: time.Second, State: statetest.Start(t, dir).Writer})
			again := after.Run(t.Context(), &definition.Filter{}, m)
			if again == nil || again.Error() != err.Error() || len(after.pool.running) != 0 {
				t.Errorf("after a restart: %v, %d processes", again, len(after.pool.running))
			}
		})
	}
}

// tried has a module tried until it had the time that it may take: processes of
// trials come last on a machine that is busy.
func (r *runner) tried(t *testing.T, m module.Info) (err error) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		err = r.Run(t.Context(), &definition.Filter{}, m)
		if _, verdict := errors.AsType[*module.ContentError](err); err == nil || verdict {
			return err
		}
		t.Log(err)
	}
	return err
}

// While modules that take long are tried, others are as well.
func TestLongTrialsHoldUpNoOthers(t *testing.T) {
	r := newRunner(t, Options{AtOnce: 1, Time: time.Minute})
	spin := r.assemble(t, wasmtest.Filter{Fault: wasmtest.SpinInConfigure})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for i := range 3 {
		go func() { ended <- r.Run(ctx, &definition.Filter{RootID: strconv.Itoa(i)}, spin) }()
	}
	eventually(t, "one is compiled", func() bool {
		free := r.long.TryAcquire(1)
		if free {
			r.long.Release(1)
		}
		return !free
	})
	if err := r.Run(t.Context(), &definition.Filter{}, r.modules["memory"]); err != nil {
		t.Error(err)
	}
	cancel()
	for range 3 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// A process has nothing of the one that starts it.
func TestNothingInherited(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Setenv("PASSWORD", "hunter2")
	secret, err := os.Open("testdata/filter.wasm")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	// As what a shell leaves open for its programs: not closed by exec.
	open, err := unix.FcntlInt(secret.Fd(), unix.F_DUPFD, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(open)
	r := newRunner(t, Options{})
	if err := r.Run(t.Context(), &definition.Filter{}, r.modules["memory"]); err != nil {
		t.Fatal(err)
	}
	for p := range r.pool.running {
		proc := fmt.Sprintf("/proc/%d/", p.pid)
		if env, err := os.ReadFile(proc + "environ"); err != nil || len(env) > 0 {
			t.Errorf("environment %q, %v", env, err)
		}
		// Go's runtime has files of the cgroup open.
		files, err := filepath.Glob(proc + "fd/*")
		if err != nil || len(files) < 3 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			to, err := os.Readlink(f)
			if err != nil || !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
				t.Errorf("%s is %s, %v", f, to, err)
			}
		}
		limits, err := os.ReadFile(proc + "limits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(limits)) {
			for _, name := range []string{"Max cpu time", "Max file size", "Max data size", "Max core file size", "Max address space"} {
				if rest, found := strings.CutPrefix(line, name); found && strings.HasPrefix(strings.TrimSpace(rest), "unlimited") {
					t.Error(line)
				}
			}
		}
	}
}

// When the program that has a module tried is killed, so is the trial.
func TestEndsWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	parent := exec.Command(os.Args[0])
	parent.Args = []string{"parent", t.TempDir()}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatalf("there is no process %d", pid)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	eventually(t, "the trial's process has ended", func() bool { return !alive(pid) })
}

// spinning is the parent of that test: it tries a module that never starts,
// and tells which process does so.
func spinning(dir string) error {
	store, err := module.Open(dir)
	if err != nil {
		return err
	}
	info, err := store.Put(bytes.NewReader(wasmtest.Filter{Fault: wasmtest.SpinInConfigure}.Module()), 1<<20)
	if err != nil {
		return err
	}
	r := New(context.Background(), Options{Store: store, Command: command, Time: time.Minute})
	p, err := r.pool.take(context.Background(), true)
	if err != nil {
		return err
	}
	time.AfterFunc(200*time.Millisecond, func() { fmt.Println(p.pid) }) // by then it spins
	_, err = p.try(context.Background(), request{Inputs: r.inputs(&definition.Filter{}, info.SHA256), CPU: time.Minute, Compile: true},
		func() (io.ReadCloser, int64, error) {
			f, info, err := store.Open(info.SHA256)
			return f, info.Size, err
		})
	return err
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return err == nil && !bytes.HasPrefix(rest, []byte("Z"))
}

// The program that runs trials is told to end while one of them goes on.
func TestGivenUp(t *testing.T) {
	store, err := module.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := store.Put(bytes.NewReader(wasmtest.Filter{Fault: wasmtest.SpinInConfigure}.Module()), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	process := statetest.Start(t, t.TempDir())
	told, tell := context.WithCancel(t.Context())
	r := New(told, Options{Store: store, Command: command, Time: time.Minute, State: process.Writer})
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx, &definition.Filter{}, info) }()
	running := func() int { r.pool.mu.Lock(); defer r.pool.mu.Unlock(); return len(r.pool.running) }
	eventually(t, "it is tried, and that is written down", func() bool { return running() > 0 && len(process.Written(t, "trials/")) == 1 })
	tell()
	eventually(t, "its process has ended", func() bool { return running() == 0 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "it is not blamed for that", func() bool { return len(process.Written(t, "trials/")) == 0 })
}

// Somebody may kill the process for a reason of their own once.
func TestKilledByOthers(t *testing.T) {
	r := newRunner(t, Options{Time: time.Minute})
	spin := r.assemble(t, wasmtest.Filter{Fault: wasmtest.SpinInConfigure})
	ended := make(chan error)
	go func() {
		for range 3 {
			ended <- r.Run(t.Context(), &definition.Filter{}, spin)
		}
	}()
	for _, want := range []string{"dry run: its process ended: signal: killed", "was killed 2 times meanwhile; not tried since", "was killed 2 times meanwhile; not tried since"} {
		var err error
		eventually(t, want, func() bool {
			r.pool.mu.Lock()
			defer r.pool.mu.Unlock()
			for p := range r.pool.running {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
			select {
			case err = <-ended:
				return true
			default:
				return false
			}
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}
