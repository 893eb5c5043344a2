package module

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const limit = 1 << 20

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "modules"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, content []byte) Info {
	t.Helper()
	info, err := s.Put(bytes.NewReader(content), limit)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestStore(t *testing.T) {
	s := newStore(t)
	content := filter("one")
	want := Info{SHA256: sumOf(content), Size: int64(len(content)), ABI: "0.2.1"}
	for range 2 { // storing it twice is the same as once
		if got := put(t, s, content); got != want {
			t.Fatalf("Put: got %+v, want %+v", got, want)
		}
	}
	again, err := Open(s.dir) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	f, info, err := again.Open(want.SHA256)
	if err != nil || info != want {
		t.Fatalf("Open: got %+v, %v, want %+v", info, err, want)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, content) {
		t.Fatalf("read %d bytes, %v", len(b), err)
	}
	if n, size, err := again.Size(t.Context()); n != 1 || size != want.Size || err != nil {
		t.Errorf("Size: %d modules, %d bytes, %v", n, size, err)
	}
	if c, err := again.Contents(want.SHA256); err != nil || len(c.Exports) != 2 {
		t.Errorf("Contents: %+v, %v", c, err)
	}
}

func TestStoreRefuses(t *testing.T) {
	s := newStore(t)
	broken := io.MultiReader(bytes.NewReader(filter("")[:20]), &failing{})
	for _, test := range []struct {
		name, err string
		r         io.Reader
		limit     int64
	}{
		{"not a module", "is an HTML page", strings.NewReader("<html>"), limit},
		{"too large", "is larger than 10 bytes", bytes.NewReader(filter("")), 10},
		{"reader fails", "origin is gone", broken, limit},
	} {
		t.Run(test.name, func(t *testing.T) {
			if info, err := s.Put(test.r, test.limit); err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %+v, %v, want error %q", info, err, test.err)
			}
		})
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, name := range []string{"", "x", "../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("0", 64)} {
		if _, err := s.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q): %v", name, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("origin is gone") }

func TestStoreCorrupt(t *testing.T) {
	for _, when := range []string{"before the process", "during it"} {
		t.Run(when, func(t *testing.T) {
			s := newStore(t)
			info := put(t, s, filter("x"))
			path := s.path(info.SHA256)
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, filter("y"), 0o644); err != nil {
				t.Fatal(err)
			}
			if when == "before the process" {
				s, _ = Open(s.dir)
			} else if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stat(info.SHA256); !errors.Is(err, ErrCorrupt) {
				t.Errorf("first Stat: %v, want ErrCorrupt", err)
			}
			if _, err := s.Stat(info.SHA256); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("second Stat: %v, want that it is gone", err)
			}
			if got := put(t, s, filter("x")); got != info {
				t.Errorf("put again: %+v", got)
			}
		})
	}
}

func TestStoreAfterCrash(t *testing.T) {
	s := newStore(t)
	half := filepath.Join(s.dir, tempPrefix+"123")
	if err := os.WriteFile(half, []byte("\x00asm"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a module is still there: %v", err)
	}
}

func TestStoreConcurrently(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			content := filter(string(rune('a' + i%4)))
			info, err := s.Put(bytes.NewReader(content), limit)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Stat(info.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, _, err := s.Size(t.Context()); n != 4 || err != nil {
		t.Errorf("%d modules, %v, want 4", n, err)
	}
}

func TestGC(t *testing.T) {
	s := newStore(t)
	now := time.Now()
	var sums []string
	// Ages in hours. Only "named" is referenced.
	for _, m := range []struct {
		seed string
		age  time.Duration
	}{{"named", 100}, {"old", 30}, {"fresh", 0}, {"yesterday", 20}, {"lately", 2}} {
		info := put(t, s, filter(m.seed))
		at := now.Add(-m.age * time.Hour)
		if err := os.Chtimes(s.path(info.SHA256), at, at); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, info.SHA256)
	}
	s, _ = Open(s.dir) // forgets that they were just used
	left := func() (left []bool) {
		for _, sum := range sums {
			_, err := os.Stat(s.path(sum))
			left = append(left, err == nil)
		}
		return left
	}
	gc := func(keep Retain, removed int, want ...bool) {
		t.Helper()
		n, err := s.GC(context.Background(), now, map[string]bool{sums[0]: true}, keep)
		if err != nil || n != removed {
			t.Errorf("removed %d, %v, want %d", n, err, removed)
		}
		if got := left(); !slices.Equal(got, want) {
			t.Errorf("left %v, want %v", got, want)
		}
	}
	gc(Retain{}, 1, true, false, true, true, true)
	gc(Retain{Bytes: int64(len(filter("lately")))}, 1, true, false, true, false, true)
	gc(Retain{For: time.Hour}, 1, true, false, true, false, false)
	gc(Retain{For: 1, Bytes: 1}, 0, true, false, true, false, false)
}

// TestGCWhenTheClockJumps checks that a wrong clock costs at most an
// unreferenced module.
func TestGCWhenTheClockJumps(t *testing.T) {
	s := newStore(t)
	named, idle := put(t, s, filter("named")), put(t, s, filter("idle"))
	s, _ = Open(s.dir) // knows only the times of the files
	gc := func(by time.Duration, want int) {
		t.Helper()
		now := time.Now().Round(0).Add(by) // without the monotonic clock reading
		n, err := s.GC(t.Context(), now, map[string]bool{named.SHA256: true}, Retain{})
		if err != nil || n != want {
			t.Errorf("%v off: removed %d, %v, want %d", by, n, err, want)
		}
	}
	gc(-24*time.Hour, 0)
	gc(-50*365*24*time.Hour, 0)
	gc(0, 0)
	gc(25*time.Hour, 1)
	gc(50*365*24*time.Hour, 0)
	if _, err := s.Stat(named.SHA256); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(idle.SHA256); err == nil {
		t.Error("what nothing names is there still")
	}
}

// TestStoreFailsInTheSameWords checks that a persistent error has the same text
// each time.
func TestStoreFailsInTheSameWords(t *testing.T) {
	s := newStore(t)
	written := func() error {
		f, err := os.CreateTemp(s.dir, tempPrefix)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		_, err = storing{s, f}.Write([]byte("x"))
		return err
	}
	made := func() error {
		_, err := s.Put(bytes.NewReader(filter("one")), limit)
		return err
	}
	wrote := written()
	if got := written(); wrote == nil || got.Error() != wrote.Error() || !errors.Is(got, os.ErrClosed) {
		t.Errorf("write: %v, then %v", wrote, got)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	first := made()
	if got := made(); first == nil || got.Error() != first.Error() || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("make: %v, then %v", first, got)
	}
}

// TestStoreCorruptAndPutAgain checks that only the corrupt file is removed, not
// one that has replaced it.
func TestStoreCorruptAndPutAgain(t *testing.T) {
	s := newStore(t)
	content := filter("1")
	sum := sumOf(content)
	spoil := func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(s.path(sum)), os.WriteFile(s.path(sum), []byte("spoilt"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	spoil()
	f, err := os.Open(s.path(sum))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put(t, s, content) // while the corrupt file is about to be read
	if _, err := s.verify(f, sum); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the spoilt file: %v", err)
	}
	if _, err := s.Stat(sum); err != nil {
		t.Errorf("the good file: %v", err)
	}
	spoil()
	if _, err := s.Stat(sum); !errors.Is(err, ErrCorrupt) {
		t.Errorf("spoilt again: %v", err)
	}
	if _, err := os.Stat(s.path(sum)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the spoilt file is there: %v", err)
	}
}

// TestStorePutWhileItIsRead does all of this concurrently: whatever is read and
// corrupted meanwhile, a stored module is present.
func TestStorePutWhileItIsRead(t *testing.T) {
	s := newStore(t)
	content := filter("1")
	sum := sumOf(content)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = s.Stat(sum)
				}
			}
		})
	}
	for range 300 {
		spoilt := filepath.Join(s.dir, "spoilt")
		if err := errors.Join(os.WriteFile(spoilt, []byte("spoilt"), 0o600), os.Rename(spoilt, s.path(sum))); err != nil {
			t.Fatal(err)
		}
		put(t, s, content)
		if _, err := os.Stat(s.path(sum)); err != nil {
			t.Fatalf("what was put is gone: %v", err)
		}
	}
	close(stop)
	wg.Wait()
	if _, err := s.Stat(sum); err != nil {
		t.Error(err)
	}
}

// TestGCWhileItIsPut checks that a module that is stored or requested again
// after it was found unreferenced is kept.
func TestGCWhileItIsPut(t *testing.T) {
	s := newStore(t)
	info := put(t, s, filter("1"))
	old := time.Now().Add(-100 * time.Hour)
	if err := os.Chtimes(s.path(info.SHA256), old, old); err != nil {
		t.Fatal(err)
	}
	s, _ = Open(s.dir) // forgets that it was just used
	put(t, s, filter("1"))
	if removed, err := s.discard(info.SHA256, old); removed || err != nil {
		t.Errorf("put again: %v %v", removed, err)
	}
	if err := os.Chtimes(s.path(info.SHA256), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(info.SHA256); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.discard(info.SHA256, old); removed || err != nil {
		t.Errorf("asked for: %v %v", removed, err)
	}
	s, _ = Open(s.dir)
	if removed, err := s.discard(info.SHA256, old); !removed || err != nil {
		t.Errorf("of no use: %v %v", removed, err)
	}
}
