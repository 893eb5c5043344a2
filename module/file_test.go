package module

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hello.wasm")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := resolve(t, Options{LookAt: 50 * time.Millisecond})
	r.set(wanted("hello", "file://"+path))
	if got := r.until(Failed, nil); !strings.Contains(got.Reason, "no such file") {
		t.Errorf("%+v", got)
	}
	write(filter("1"))
	r.until(Good, filter("1"))
	write(filter("2")) // with an unchanged definition
	r.until(Good, filter("2"))
	write(filter("3")[:40]) // half a file
	r.until(Failed, filter("2"))
	write(filter("3"))
	r.until(Good, filter("3"))
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, filter("4"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	r.until(Good, filter("4"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.until(Failed, filter("4"))
}

// TestFileBehindLinks swaps a link to a folder of the links' targets, as
// Kubernetes does.
func TestFileBehindLinks(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, "..v"+v), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "..v"+v, "hello.wasm"), filter(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		next := filepath.Join(dir, "..next")
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link("..data/hello.wasm", "hello.wasm")
	r := resolve(t, Options{LookAt: time.Hour}) // by events only
	r.set(wanted("hello", "file://"+filepath.Join(dir, "hello.wasm")))
	r.until(Good, filter("1"))
	link("..v2", "..data")
	r.until(Good, filter("2"))
}

// TestFileInNewFolder checks that a folder that is recreated is watched again.
func TestFileInNewFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "filters")
	path := filepath.Join(dir, "hello.wasm")
	r := resolve(t, Options{LookAt: 20 * time.Millisecond})
	r.set(wanted("hello", "file://"+path))
	r.until(Failed, nil)
	for _, seed := range []string{"1", "2"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, filter(seed), 0o644); err != nil {
			t.Fatal(err)
		}
		r.until(Good, filter(seed))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		r.until(Failed, filter(seed))
	}
}

// TestFileAndDefinition checks that a definition that is written right after
// its module is never served with the previous module.
func TestFileAndDefinition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.wasm")
	put := func(content []byte) {
		t.Helper()
		err := os.WriteFile(path+".new", content, 0o644)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(filter("0"))
	r := resolve(t, Options{Settle: 10 * time.Second, Runner: newTrials()})
	r.set(wanted("hello", "file://"+path))
	r.until(Good, filter("0"))
	for i := range 5 {
		content := filter(strconv.Itoa(i + 1))
		put(content)
		f := rooted("hello", "file://"+path, strconv.Itoa(i)) // requires a new trial
		r.set(f)
		r.next(func(s *Set) bool {
			got := s.Filters[0]
			if got.Definition == f && got.Module.SHA256 != sumOf(content) {
				t.Fatalf("definition %d came with the module %.12s", i+1, got.Module.SHA256)
			}
			return got.Definition == f
		})
	}
}

// TestUnsteady checks that what a file has is rejected if somebody writes to it while it
// is read.
func TestUnsteady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.wasm")
	if err := os.WriteFile(path, filter("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, filter("a longer value"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(&steady{File: f, what: "module", path: path, stat: stat})
	if want := "module file: " + path + ": the file changes while it is being read"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
