package files_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wasmxds/files"
)

// TestNotRegular checks that anything but a regular file is rejected
// immediately, under any name.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, syscall.Mkfifo(at("pipe"), 0o600))
	must(t, os.Mkdir(at("folder"), 0o700))
	l, err := net.Listen("unix", at("socket"))
	must(t, err)
	defer l.Close()
	must(t, os.Symlink("/dev/ptmx", at("link")))
	for _, name := range []string{at("pipe"), at("folder"), at("socket"), at("link"), "/dev/ptmx", "/dev/zero", "/dev/null", "/dev/tty"} {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			t.Logf("there is no %s on this machine", name)
			continue
		}
		soon(t, name, func() {
			if _, _, err := files.Open(name); !errors.Is(err, files.ErrNotRegular) {
				t.Errorf("Open(%s): %v", name, err)
			}
			if _, err := files.Read(name, 1<<20); !errors.Is(err, files.ErrNotRegular) {
				t.Errorf("Read(%s): %v", name, err)
			}
			if _, _, err := roots(t, "/").Open(name); !errors.Is(err, files.ErrNotRegular) {
				t.Errorf("Roots.Open(%s): %v", name, err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	must(t, os.WriteFile(name, []byte("12345"), 0o600))
	if b, err := files.Read(name, 5); string(b) != "12345" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if b, err := files.Read(name, 4); b != nil || !errors.Is(err, files.ErrTooLarge) {
		t.Errorf("%q %v", b, err)
	}
}

// TestRoots checks that files below a root are opened by any name, others are
// not, and errors do not reveal whether those exist.
func TestRoots(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		"defs-v2/a.wasm": "a", "defs-v2/..2026/map.wasm": "map", "modules/m.wasm": "m", "secret/key": "key", "defs-v2-not/x": "x",
	} {
		must(t, os.MkdirAll(filepath.Dir(at(name)), 0o700))
		must(t, os.WriteFile(at(name), []byte(content), 0o600))
	}
	for name, target := range map[string]string{
		"defs":                "defs-v2", // the root is a link
		"alias":               dir,       // another path to it
		"defs-v2/..data":      "..2026",  // as Kubernetes mounts volumes
		"defs-v2/map.wasm":    "..data/map.wasm",
		"defs-v2/absolute":    at("defs-v2/a.wasm"),
		"defs-v2/module":      at("modules/m.wasm"), // from root to root
		"defs-v2/up":          "../secret/key",
		"defs-v2/shadow":      "/etc/shadow",
		"defs-v2/nothing":     "../secret/nothing",
		"defs-v2/slash":       "/",
		"defs-v2/chain":       "slash",
		"defs-v2/proc":        "/proc/self/root",
		"defs-v2/loop":        "loop",
		"defs-v2/broken":      "gone.wasm",
		"defs-v2/back":        "../secret/to-defs", // out of the root, and back in
		"secret/to-defs":      "../defs-v2/a.wasm",
		"defs-v2/sibling":     "../defs-v2-not/x",
		"defs-v2/environment": "/proc/self/environ",
	} {
		must(t, os.Symlink(target, at(name)))
	}
	r := roots(t, at("defs"), at("modules"))
	for name, want := range map[string]string{
		at("defs/a.wasm"): "a", at("defs-v2/a.wasm"): "a", at("alias/defs/a.wasm"): "a", at("defs/map.wasm"): "map",
		at("defs/absolute"): "a", at("defs/module"): "m", at("modules/m.wasm"): "m", at("defs/../defs/a.wasm"): "a", at("defs/back"): "a",
		at("modules/../defs/..data/map.wasm"): "map",
	} {
		b, err := r.Read(name, 10)
		if string(b) != want || err != nil {
			t.Errorf("%s: %q %v, want %q", name, b, err, want)
		}
		if info, err := r.Stat(name); err != nil || info.Size() != int64(len(want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		at("defs/up"), at("defs/shadow"), at("defs/nothing"), at("defs/slash/etc/passwd"), at("defs/slash/no/such"), at("defs/chain/etc/passwd"),
		at("defs/proc/etc/passwd"), at("defs/sibling"), at("defs-v2-not/x"), at("defs/../secret/key"), at("secret/key"), at("secret/nothing"),
		at("defs/environment"), "/etc/shadow", "/root/.ssh/id_rsa", "/no/such", "/proc/self/environ", "/",
	} {
		if _, err := r.Read(name, 1<<20); !errors.Is(err, files.ErrOutside) {
			t.Errorf("%s: %v, want it refused", name, err)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%v: does not name %s", err, name)
		}
		if _, err := r.Stat(name); !errors.Is(err, files.ErrOutside) {
			t.Errorf("stat %s: %v, want it refused", name, err)
		}
	}
	for _, name := range []string{at("defs/gone"), at("defs/broken"), at("modules/no/such")} {
		if _, err := r.Read(name, 1<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it is not there", name, err)
		}
	}
	if _, err := r.Read(at("defs/loop"), 1<<20); err == nil {
		t.Error("a link to itself was read")
	}
	if _, err := (files.Roots{}).Read(at("defs/a.wasm"), 10); !errors.Is(err, files.ErrOutside) {
		t.Errorf("no roots: %v", err)
	}
}

// TestRootsRace checks that a link that appears and disappears while a file is
// opened never leads out of a root.
func TestRootsRace(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"root/in/a", "out/a"} {
		must(t, os.MkdirAll(filepath.Dir(at(name)), 0o700))
		must(t, os.WriteFile(at(name), []byte(name), 0o600))
	}
	must(t, os.Symlink("../out", at("root/link")))
	must(t, os.Rename(at("root/in"), at("root/real")))
	must(t, os.Symlink("real", at("root/good")))
	r := roots(t, at("root"))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() { // "in" alternates between a folder in the root and a link out of it
		defer close(done)
		for !stop.Load() {
			_ = os.Rename(at("root/real"), at("root/in"))
			_ = os.Rename(at("root/in"), at("root/real"))
			_ = os.Rename(at("root/link"), at("root/in"))
			_ = os.Rename(at("root/in"), at("root/link"))
		}
	}()
	read, refused := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		b, err := r.Read(at("root/in/a"), 100)
		switch {
		case err != nil:
			refused++
		case string(b) == "root/in/a":
			read++
		default:
			t.Fatalf("read %q", b)
		}
	}
	stop.Store(true)
	<-done
	t.Logf("read %d times, refused %d times", read, refused)
	if read == 0 {
		t.Error("never read: the test shows nothing")
	}
}

func roots(t *testing.T, dirs ...string) files.Roots {
	t.Helper()
	r, err := files.NewRoots(dirs...)
	must(t, err)
	return r
}

// soon fails a test if a step blocks.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: still waiting", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
