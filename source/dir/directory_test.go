package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"wasmxds/source"
)

func TestFirstUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", ""))
	write(t, dir+"/sub/deep/b.yml", filter("b", ""))
	write(t, dir+"/c.json", `{"kind": "WasmFilter", "name": "c", "module": {"url": "/c.wasm"}}`)
	write(t, dir+"/.hidden.yaml", filter("no", ""))
	write(t, dir+"/.git/x.yaml", filter("no", ""))
	write(t, dir+"/backup.yaml~", filter("no", ""))
	write(t, dir+"/notes.txt", "no")
	r := start(t, &Directory{Path: dir})
	u := r.next()
	if got := filterNames(u); got != "a b c" || len(u.Problems) != 0 || u.Files != 3 || u.Changed.IsZero() {
		t.Errorf("filters %q, %d files, changed %v, problems %v", got, u.Files, u.Changed, u.Problems)
	}
	if got, want := byName(u, "b").Pos.File, filepath.Join(dir, "sub/deep/b.yml"); got != want {
		t.Errorf("position in %s, want %s", got, want)
	}
	r.quiet()
}

func TestEmptyDirectoryWantsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, &Directory{Path: t.TempDir()})
	if u := r.next(); u.Set == nil || len(u.Set.Filters) != 0 || len(u.Problems) != 0 {
		t.Errorf("%+v", u)
	}
}

// TestWays checks every way in which people and tools write files.
func TestWays(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(t *testing.T, path, content string){
		"in place": func(t *testing.T, path, content string) { write(t, path, content) },
		"rename":   func(t *testing.T, path, content string) { replace(t, path, content) },
		"editor": func(t *testing.T, path, content string) { // like vim: the file is missing for a moment
			must(t, os.Rename(path, path+"~"))
			time.Sleep(50 * time.Millisecond)
			write(t, path, content)
			must(t, os.Remove(path+"~"))
		},
		"remove and write": func(t *testing.T, path, content string) {
			must(t, os.Remove(path))
			write(t, path, content)
		},
		"append": func(t *testing.T, path, content string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("---\n" + strings.Replace(content, "name: a", "name: b", 1))
			must(t, err)
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.yaml")
			replace(t, path, filter("a", "one"))
			r := start(t, &Directory{Path: filepath.Dir(path)})
			r.until("a=one", 0)
			write(t, path, filter("a", "two"))
			u := r.next()
			if got := filterNames(u); got != "a=two" && got != "a=one b=two" {
				t.Errorf("the next update has %q, problems %v", got, u.Problems)
			}
			must(t, os.Remove(path))
			r.until("", 0)
		})
	}
}

func TestBurstIsOneUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, &Directory{Path: dir})
	r.until("", 0)
	for i := range 200 {
		write(t, fmt.Sprintf("%s/sub/%d.yaml", dir, i), filter(fmt.Sprintf("f%03d", i), ""))
	}
	updates := 0
	for {
		updates++
		if u := r.next(); u.Files == 200 && len(u.Set.Filters) == 200 {
			break
		}
	}
	if updates > 3 {
		t.Errorf("%d updates for one burst", updates)
	}
	r.quiet()
}

// TestEndlessChanges checks that continuous changes delay updates at most by
// Max.
func TestEndlessChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, &Directory{Path: dir})
	r.until("", 0)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			replace(t, dir+"/busy.yaml", filter("busy", fmt.Sprint("r", i)))
			time.Sleep(2 * time.Millisecond)
		}
	}()
	defer func() { stop(); <-done }()
	write(t, dir+"/a.yaml", filter("a", ""))
	for began := time.Now(); ; {
		u := r.next()
		if byName(u, "a") != nil && byName(u, "busy") != nil {
			break
		}
		if took := time.Since(began); took > deadline {
			t.Fatalf("after %v there is %q", took, filterNames(u))
		}
	}
}

func TestUnchangedFilesKeepTheirDefinitions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", ""))
	write(t, dir+"/b.yaml", filter("b", "one"))
	r := start(t, &Directory{Path: dir})
	before := r.until("a b=one", 0)
	write(t, dir+"/b.yaml", filter("b", "two"))
	after := r.until("a b=two", 0)
	if byName(before, "a") != byName(after, "a") {
		t.Error("a file that did not change was parsed again")
	}
	if byName(before, "b") == byName(after, "b") {
		t.Error("a file that changed was not parsed")
	}
	now := time.Now()
	must(t, os.Chtimes(dir+"/a.yaml", now, now))
	r.quiet()
	must(t, r.Rescan(t.Context()))
	r.quiet()
}

func TestBadFileKeepsItsLastGoodContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", "one"))
	write(t, dir+"/b.yaml", filter("b", "one"))
	r := start(t, &Directory{Path: dir})
	r.until("a=one b=one", 0)

	write(t, dir+"/a.yaml", "kind: WasmFilter\nname: [\n")
	u := r.until("a=one b=one", 1)
	if p := u.Problems[0]; p.File != filepath.Join(dir, "a.yaml") || p.Line == 0 {
		t.Errorf("problem %+v", p)
	}
	write(t, dir+"/b.yaml", filter("b", "two"))
	r.until("a=one b=two", 1)

	// Another error: a conflict with another file.
	write(t, dir+"/a.yaml", filter("b", "three"))
	if u = r.until("a=one b=two", 1); !strings.Contains(u.Problems[0].Message, "already") {
		t.Errorf("problem %v", u.Problems)
	}
	// Valid as soon as the other file is gone.
	must(t, os.Remove(dir+"/b.yaml"))
	r.until("b=three", 0)

	// Not readable: a dangling link, a pipe, too large.
	must(t, os.Remove(dir+"/a.yaml"))
	must(t, os.Symlink("nowhere", dir+"/a.yaml"))
	r.until("b=three", 1)
	must(t, os.Remove(dir+"/a.yaml"))
	write(t, dir+"/a.yaml", filter("b", "four"))
	r.until("b=four", 0)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, dir+"/"+name+".yaml", filter(name, ""))
	}
	r := start(t, &Directory{Path: dir, MaxFiles: 3, MaxSize: 1000})
	r.until("a b c", 0)
	write(t, dir+"/a.yaml", filter("a", strings.Repeat("x", 1000)))
	u := r.until("a b c", 1)
	if !strings.Contains(u.Problems[0].Message, "larger than 1000 bytes") {
		t.Errorf("%v", u.Problems)
	}
	write(t, dir+"/0.yaml", filter("d", ""))
	r.until("a b c", 2)
	must(t, os.Remove(dir+"/a.yaml"))
	r.until("b c d", 0)
}

func TestRenamedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", ""))
	r := start(t, &Directory{Path: dir})
	r.until("a", 0)
	must(t, os.Rename(dir+"/a.yaml", dir+"/sub.yaml"))
	if u := r.next(); filterNames(u) != "a" || len(u.Problems) != 0 || filepath.Base(byName(u, "a").Pos.File) != "sub.yaml" {
		t.Errorf("filters %q problems %v", filterNames(u), u.Problems)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/sub/a.yaml", filter("a", "one"))
	r := start(t, &Directory{Path: dir})
	r.until("a=one", 0)

	// Created, filled and moved.
	write(t, dir+"/new/deep/b.yaml", filter("b", "one"))
	r.until("a=one b=one", 0)
	must(t, os.Rename(dir+"/new", dir+"/moved"))
	r.until("a=one b=one", 0)
	write(t, dir+"/moved/deep/b.yaml", filter("b", "two"))
	r.until("a=one b=two", 0)

	// Deleted and created again at once: never without.
	must(t, os.RemoveAll(dir+"/sub"))
	write(t, dir+"/sub/a.yaml", filter("a", "two"))
	if u := r.next(); filterNames(u) != "a=two b=two" {
		t.Errorf("next update: %q", filterNames(u))
	}
	write(t, dir+"/sub/a.yaml", filter("a", "three"))
	r.until("a=three b=two", 0)

	// Deleted permanently.
	must(t, os.RemoveAll(dir+"/sub"))
	r.until("b=two", 0)
}

func TestRootGoneAndBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "parent", "definitions")
	write(t, dir+"/a.yaml", filter("a", "one"))
	r := start(t, &Directory{Path: dir})
	r.until("a=one", 0)

	must(t, os.RemoveAll(filepath.Dir(dir)))
	u := r.until("a=one", 1)
	if p := u.Problems[0]; p.File != dir || !strings.Contains(p.Message, "stay as they were") || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	write(t, dir+"/a.yaml", filter("a", "two"))
	r.until("a=two", 0)

	// A file in its place.
	must(t, os.RemoveAll(dir))
	write(t, dir, "a file")
	r.until("a=two", 1)
	must(t, os.Remove(dir))
	must(t, os.Mkdir(dir, 0o777))
	r.until("", 0)
}

func TestNeverThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "definitions")
	r := start(t, &Directory{Path: dir})
	if u := r.next(); u.Set != nil || len(u.Problems) != 1 {
		t.Errorf("%+v", u)
	}
	write(t, dir+"/a.yaml", filter("a", ""))
	r.until("a", 0)
}

func TestPolling(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() (*notifier, error){
		"no inotify": func() (*notifier, error) { return nil, errors.New("too many open files") },
		"no watches left": func() (*notifier, error) {
			n := deaf()
			n.add = func(string) error { return errors.New("no space left on device") }
			return n, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir+"/a.yaml", filter("a", "one"))
			r := start(t, &Directory{Path: dir, Poll: 10 * time.Millisecond, open: open})
			r.until("a=one", 0)
			replace(t, dir+"/a.yaml", filter("a", "two"))
			r.until("a=two", 0)
			write(t, dir+"/sub/b.yaml", filter("b", ""))
			r.until("a=two b", 0)
			must(t, os.RemoveAll(dir+"/sub"))
			r.until("a=two", 0)
			r.quiet()
		})
	}
}

// deaf is a notifier without events.
func deaf() *notifier {
	nothing := func(string) error { return nil }
	return &notifier{events: make(chan fsnotify.Event), errors: make(chan error), add: nothing, remove: nothing, close: func() error { return nil }}
}

func TestOverflowLooksAtEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", "one"))
	errs := make(chan error)
	n := deaf()
	n.errors = errs
	r := start(t, &Directory{Path: dir, open: func() (*notifier, error) { return n, nil }})
	r.until("a=one", 0)
	write(t, dir+"/a.yaml", filter("a", "two"))
	write(t, dir+"/sub/b.yaml", filter("b", ""))
	r.quiet() // no events
	errs <- fsnotify.ErrEventOverflow
	r.until("a=two b", 0)
}

func TestAuditAndRescan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, &Directory{Path: dir, Audit: 10 * time.Millisecond, open: func() (*notifier, error) { return deaf(), nil }})
	r.until("", 0)
	write(t, dir+"/a.yaml", filter("a", ""))
	r.until("a", 0)
	r.stop()

	r = start(t, &Directory{Path: dir, open: func() (*notifier, error) { return deaf(), nil }})
	r.until("a", 0)
	write(t, dir+"/a.yaml", filter("a", "two"))
	r.quiet()
	must(t, r.Rescan(t.Context()))
	select { // the update has been sent when Rescan returns
	case u := <-r.updates:
		if filterNames(u) != "a=two" {
			t.Errorf("%q", filterNames(u))
		}
	default:
		t.Error("Rescan returned before what was read was emitted")
	}
	must(t, r.Rescan(t.Context())) // no changes
	r.stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Rescan(ctx); err == nil {
		t.Error("a Directory that has ended was read")
	}
}

// TestTimesToCome checks that files may have any times.
func TestTimesToCome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ahead := time.Now().Add(24 * time.Hour)
	write(t, dir+"/a.yaml", filter("a", "one"))
	must(t, os.Chtimes(dir+"/a.yaml", ahead, ahead))
	r := start(t, &Directory{Path: dir})
	if u := r.next(); filterNames(u) != "a=one" {
		t.Errorf("first update: %q, problems %v", filterNames(u), u.Problems)
	}
	// Same size, same times.
	write(t, dir+"/a.yaml", filter("a", "two"))
	must(t, os.Chtimes(dir+"/a.yaml", ahead, ahead))
	r.until("a=two", 0)
}

func TestNotSetUp(t *testing.T) {
	t.Parallel()
	if err := joined(&Directory{}).Run(t.Context(), func(source.Update) { t.Error("emitted") }); err == nil {
		t.Error("no error")
	}
}
