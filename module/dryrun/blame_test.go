package dryrun

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/state"
	"wasmxds/state/local"
	"wasmxds/state/statetest"
)

func newTestBlame(t *testing.T, w *state.Writer) *blame {
	return newBlame(t.Context(), w.View("trials/"), slog.New(slog.DiscardHandler))
}

// A program that is killed in a trial finds it begun: a long one is written down
// before it begins, a short one soon.
func TestBlameAfterRestart(t *testing.T) {
	for _, long := range []bool{false, true} {
		dir := t.TempDir()
		for strikes := range 3 {
			synctest.Test(t, func(t *testing.T) { begunAfter(t, dir, strikes, long) })
		}
		process := statetest.Start(t, dir)
		newTestBlame(t, process.Writer).strike("key", inputs{}, 0)
		eventually(t, "nothing is against it", func() bool { return len(process.Written(t, "")) == 0 })
	}
}

// begunAfter begins a trial in a process that is killed, after so many others were.
func begunAfter(t *testing.T, dir string, strikes int, long bool) {
	store, err := local.Open(filepath.Join(dir, "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := state.NewWriter(store, slog.New(slog.DiscardHandler))
	ctx, kill := context.WithCancel(t.Context())
	if !long {
		go w.Run(ctx)
	}
	b := newTestBlame(t, w)
	verdict := b.verdict("key")
	if blamed := strikes == 2; (verdict != nil) != blamed {
		t.Errorf("killed %d times meanwhile: %v", strikes, verdict)
	}
	b.begin(t.Context(), "key", inputs{Name: "hello"}, b.strikes("key"), long)
	begun := func() bool {
		e, err := store.Get(t.Context(), "trials/key")
		return err == nil && strings.Contains(string(e.Value), fmt.Sprintf(`"strikes":%d`, strikes+1))
	}
	if long && !begun() {
		t.Error("it would begin before that is written")
	}
	began := time.Now()
	eventually(t, "it is written that it begins", begun)
	if d := time.Since(began); d > 400*time.Millisecond {
		t.Errorf("written after %v", d)
	}
	kill()
	synctest.Wait()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBlameIsBounded(t *testing.T) {
	process := statetest.Start(t, t.TempDir())
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	kept := process.View("trials/")
	for i := range maxMarks + 20 {
		kept.Put(fmt.Sprintf("%04d", i), mark{Since: begin.Add(time.Duration(i) * time.Second), Reason: "dry run: x"})
	}
	kept.PutBytes("half", []byte(`{"strikes": 1`))
	if err := kept.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := newTestBlame(t, process.Writer)
	_ = b.convict("new", inputs{}, "dry run: y")
	if err := kept.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(process.Written(t, "trials/")); n != maxMarks || len(b.marks) != maxMarks {
		t.Errorf("%d kept, %d marks", n, len(b.marks))
	}
	if b.verdict("0020") != nil || b.verdict("0021") == nil || b.verdict("new") == nil {
		t.Error("not the oldest ones were dropped")
	}
}
