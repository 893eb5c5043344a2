package dir

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// inForce is the key of the stored listeners in force.
const inForce = ".in-force.json"

// kept waits until a file's last good content is content; "": there is none.
func kept(t *testing.T, p *statetest.Process, rel, content string) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		got := p.Written(t, "definitions/")[rel]
		if got == content {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %q, want %q", rel, got, content)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// next ends a process, and returns the next one.
func next(t *testing.T, p *statetest.Process, data string) *statetest.Process {
	t.Helper()
	p.End()
	return statetest.Start(t, data)
}

func TestRestartWithBadFile(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	directory := func() *Directory { return &Directory{Path: dir} }
	write(t, dir+"/sub/a.yaml", filter("a", "one"))
	write(t, dir+"/b.yaml", filter("b", "one"))
	write(t, dir+"/c.yaml", filter("c", "one"))
	r := start(t, directory(), in(p.Writer))
	r.until("a=one b=one c=one", 0)
	write(t, dir+"/sub/a.yaml", filter("a", "two"))
	r.until("a=two b=one c=one", 0)
	write(t, dir+"/sub/a.yaml", "bad: [")
	r.until("a=two b=one c=one", 1)
	r.stop()
	p = next(t, p, data)
	kept(t, p, "sub/a.yaml", filter("a", "two"))

	// While it was not running: one file was deleted, another conflicts by its
	// name.
	must(t, os.Remove(dir+"/c.yaml"))
	write(t, dir+"/0.yaml", filter("b", "thief"))
	r = start(t, directory(), in(p.Writer))
	u := r.next()
	if filterNames(u) != "a=two b=one" || len(u.Problems) != 2 {
		t.Errorf("filters %q, problems %v", filterNames(u), u.Problems)
	}
	kept(t, p, "c.yaml", "")
	write(t, dir+"/sub/a.yaml", filter("a", "three"))
	r.until("a=three b=one", 1)
	kept(t, p, "sub/a.yaml", filter("a", "three"))
	must(t, os.RemoveAll(dir+"/sub"))
	r.until("b=one", 1)
	kept(t, p, "sub/a.yaml", "")
	r.stop()
	p = next(t, p, data)

	// The whole directory is missing.
	must(t, os.Rename(dir, dir+".away"))
	r = start(t, directory(), in(p.Writer))
	r.until("b=one", 1)
	must(t, os.Rename(dir+".away", dir))
	r.until("b=one", 1)
	must(t, os.Remove(dir+"/0.yaml"))
	u = r.until("b=one", 0)
	if got := byName(u, "b").Pos.File; got != filepath.Join(dir, "b.yaml") {
		t.Errorf("position %s", got)
	}
}

// TestFileBecomesFolder checks that a file may become a folder.
func TestFileBecomesFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := statetest.Start(t, t.TempDir())
	write(t, dir+"/a.yaml", filter("a", "one"))
	r := start(t, &Directory{Path: dir}, in(p.Writer))
	r.until("a=one", 0)
	must(t, os.Remove(dir+"/a.yaml"))
	write(t, dir+"/a.yaml/b.yaml", filter("a", "two"))
	r.until("a=two", 0)
	kept(t, p, "a.yaml", "")
	kept(t, p, "a.yaml/b.yaml", filter("a", "two"))
}

// full is a store on a disk that is full for a while.
type full struct {
	state.Store
	now atomic.Bool
}

func (f *full) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if f.now.Load() {
		return 0, errors.New("no space left on device")
	}
	return f.Store.Apply(ctx, ops)
}

func TestStateThatCantBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := statetest.Start(t, t.TempDir())
	f := &full{Store: p.Store}
	f.now.Store(true)
	w := state.NewWriter(f, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	write(t, dir+"/a.yaml", filter("a", "one"))
	r := start(t, &Directory{Path: dir}, in(w))
	r.until("a=one", 0)
	write(t, dir+"/a.yaml", filter("a", "two"))
	r.until("a=two", 0)
	f.now.Store(false)
	kept(t, p, "a.yaml", filter("a", "two")) // retried automatically
	cancel()
	<-ended
}

// TestJoinIsWrittenAsOne checks that the listeners in force are written
// together with the files.
func TestJoinIsWrittenAsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := statetest.Start(t, t.TempDir())
	var batches [][]state.Op
	var mu sync.Mutex
	w := state.NewWriter(applied{p.Store, func(ops []state.Op) {
		mu.Lock()
		defer mu.Unlock()
		batches = append(batches, ops)
	}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // as fast as possible
		defer close(ended)
		for ctx.Err() == nil {
			_ = w.Flush(context.WithoutCancel(ctx))
		}
	}()
	write(t, dir+"/web.yaml", listener("web"))
	r := start(t, &Directory{Path: dir}, in(w))
	r.until("", 0)
	write(t, dir+"/bad.yaml", "kind: [")
	write(t, dir+"/api.yaml", listener("api"))
	r.until("", 2)
	kept(t, p, "api.yaml", listener("api"))
	cancel()
	<-ended
	mu.Lock()
	defer mu.Unlock()
	withheld := false
	for _, ops := range batches {
		keys := map[string]bool{}
		for _, op := range ops {
			keys[op.Key] = true
		}
		withheld = withheld || keys["definitions/"+inForce]
		if keys["definitions/api.yaml"] && !withheld {
			t.Errorf("api is written before what withholds it: %v", keys)
		}
	}
}

type applied struct {
	state.Store
	told func([]state.Op)
}

func (a applied) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	a.told(ops)
	return a.Store.Apply(ctx, ops)
}

func TestKeptThatIsNotGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := statetest.Start(t, t.TempDir())
	p.View("definitions/").PutAll(map[string][]byte{
		"old.yaml":   []byte("not good: ["),
		"gone.yaml":  []byte("not good: ["),
		"large.yaml": bytes.Repeat([]byte("#"), definition.MaxSize+1),
	})
	must(t, p.Flush(t.Context()))
	write(t, dir+"/old.yaml", filter("a", ""))
	r := start(t, &Directory{Path: dir}, in(p.Writer))
	r.until("a", 0)
	kept(t, p, "gone.yaml", "")
	kept(t, p, "old.yaml", filter("a", ""))
}
