package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// disk is a Store that only accepts batches, if it is not full.
type disk struct {
	Store
	mu      sync.Mutex
	full    bool
	batches [][]Op
}

func (d *disk) Apply(_ context.Context, ops []Op) (Revision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0, errors.New("no space left on device")
	}
	d.batches = append(d.batches, ops)
	return 0, nil
}

// told returns what was written, a batch a line.
func (d *disk) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lines []string
	for _, ops := range d.batches {
		words := map[string]string{}
		for _, op := range ops {
			words[op.Key] = fmt.Sprintf("%s=%s", op.Key, op.Value)
			if op.Remove {
				words[op.Key] = "-" + op.Key
			}
		}
		var line []string
		for _, k := range slices.Sorted(maps.Keys(words)) {
			line = append(line, words[k])
		}
		lines = append(lines, strings.Join(line, " "))
	}
	d.batches = nil
	return strings.Join(lines, "\n")
}

func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		writer := NewWriter(d, slog.New(slog.DiscardHandler))
		w := writer.View("")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); writer.Run(ctx) }()
		want := func(what, want string) {
			t.Helper()
			if got := d.told(); got != want {
				t.Errorf("%s: wrote %q, want %q", what, got, want)
			}
		}
		w.Put("a", 1)
		w.Put("b", 1)
		w.Put("a", 2)
		want("at once", "")
		time.Sleep(time.Second)
		want("after a moment", "a=2 b=1")

		d.full = true
		w.Put("a", 3)
		w.Remove("b")
		time.Sleep(time.Minute)
		w.Put("b", 4)
		d.mu.Lock()
		d.full = false
		d.mu.Unlock()
		time.Sleep(time.Minute)
		want("when there is room again", "a=3 b=4")
		if f := w.w.Failing(); f.Err != nil {
			t.Errorf("still fails when everything is written: %v", f.Err)
		}

		w.Put("c", 5)
		cancel()
		<-ended
		want("at the end", "c=5")
	})
}

// TestWriterGathers checks that a thousand changes a second make two writes, that only the
// last version of each value is encoded, and that nothing is written while nothing changes.
func TestWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		w := NewWriter(d, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		v, encoded := w.View("p/"), 0
		for i := range 1000 {
			v.Put("a", counted{i + 1, &encoded})
			time.Sleep(time.Millisecond + time.Microsecond) // never just when it writes
		}
		time.Sleep(writeAfter)
		synctest.Wait()
		lines := strings.Split(d.told(), "\n")
		if len(lines) > 3 || encoded != len(lines) || lines[len(lines)-1] != "p/a=1000" {
			t.Errorf("written %q, %d values encoded", lines, encoded)
		}
		time.Sleep(time.Hour)
		if got := d.told(); got != "" {
			t.Errorf("written while nothing changed: %q", got)
		}
	})
}

type counted struct {
	value int
	n     *int
}

func (c counted) MarshalJSON() ([]byte, error) {
	*c.n++
	return fmt.Append(nil, c.value), nil
}

// TestWriterTriesAgain checks that failing writes are logged, more and more rarely.
func TestWriterTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		w := NewWriter(&disk{full: true}, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		if f := w.Failing(); f.Err != nil {
			t.Errorf("fails before anything is put: %v", f.Err)
		}
		put := time.Now()
		w.View("").Put("a", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if f := w.Failing(); f.Err == nil || f.Since.Sub(put) != writeAfter {
			t.Errorf("fails since %v after it was put, with %v", f.Since.Sub(put), f.Err)
		}
		cancel()
		synctest.Wait()
		if n := strings.Count(log.String(), "can't write the state; retrying"); n < 4 || n > 12 {
			t.Errorf("told %d times in a minute:\n%s", n, &log)
		}
		if !strings.Contains(log.String(), "the last change was not written") {
			t.Errorf("the end tells nothing:\n%s", &log)
		}
	})
}

// TestWriterLeavesOut checks that an entry that can't be encoded, or whose key is too long,
// doesn't keep others from being written.
func TestWriterLeavesOut(t *testing.T) {
	var log strings.Builder
	d := &disk{}
	w := NewWriter(d, slog.New(slog.NewTextHandler(&log, nil)))
	v := w.View("p/")
	v.Put("bad", func() {})
	v.Put(strings.Repeat("long", maxKey/4), 1)
	v.Put("good", 1)
	if err := v.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := d.told(); got != "p/good=1" || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("wrote %q, logged\n%s", got, &log)
	}
}

// TestFlushIsShared checks that concurrent flushes share writes, and that each finds its
// value written.
func TestFlushIsShared(t *testing.T) {
	d := &disk{}
	w := NewWriter(d, slog.New(slog.DiscardHandler))
	v := w.View("")
	w.flushing <- struct{}{}
	var group sync.WaitGroup
	for i := range 100 {
		v.Put(fmt.Sprint(i), i)
		group.Go(func() {
			if err := v.Flush(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	<-w.flushing
	group.Wait()
	if len(d.batches) != 1 || len(d.batches[0]) != 100 {
		t.Errorf("%d batches", len(d.batches))
	}
}

func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		w := NewWriter(d, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		v := w.View("")
		v.Put("a", 1)
		v.Hurry()
		synctest.Wait()
		if got := d.told(); got != "a=1" {
			t.Errorf("wrote %q", got)
		}
	})
}

// TestNothingKept checks that a View of no Writer stores nothing, and does no harm.
func TestNothingKept(t *testing.T) {
	var w *Writer
	for _, v := range []View{{}, w.View("p/")} {
		v.Put("a", 1)
		v.PutBytes("a", nil)
		v.Remove("a")
		v.Hurry()
		if err := v.Flush(t.Context()); err != nil || v.Keeps() || v.All(t.Context()) != nil {
			t.Errorf("%v, %v", err, v.Keeps())
		}
	}
}

// picky is a Store that never accepts some entries, and accepts nothing when the term is
// over.
type picky struct {
	disk
	over bool
}

func (p *picky) Apply(ctx context.Context, ops []Op) (Revision, error) {
	if p.over {
		return 0, ErrDeposed
	}
	for _, op := range ops {
		if strings.HasPrefix(op.Key, "large") {
			return 0, &RefusedError{op.Key, errors.New("too large")}
		}
	}
	return p.disk.Apply(ctx, ops)
}

// TestRefused checks that an entry that a store never accepts is left out, and logged.
func TestRefused(t *testing.T) {
	var log strings.Builder
	d := &picky{}
	w := NewWriter(d, slog.New(slog.NewTextHandler(&log, nil)))
	for _, key := range []string{"a", "large1", "b", "large2"} {
		w.View("").Put(key, 1)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := d.told(); got != "a=1 b=1" || strings.Count(log.String(), "too large") != 2 {
		t.Errorf("wrote %q, logged\n%s", got, &log)
	}
	if err := w.Flush(t.Context()); err != nil || d.told() != "" {
		t.Errorf("it is tried again: %v", err)
	}
}

// TestDeposed checks that an entry of a term that is over is not retried, and that whoever
// waits for it gets an error.
func TestDeposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &picky{over: true}
		w := NewWriter(d, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx)
		w.View("").Put("a", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "another replica leads"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
		if err := w.Flush(ctx); !errors.Is(err, ErrDeposed) {
			t.Errorf("flushed when somebody else had found it over: %v", err)
		}
	})
}

// copied is a Store with a copy, whose pushes hang until they may continue.
type copied struct {
	disk
	may chan error
	n   uint64
}

func (c *copied) Note(ctx context.Context, ops []Op) uint64 {
	_, _ = c.Apply(ctx, ops) // it never fails
	c.n++
	return c.n
}

func (c *copied) Push(_ context.Context, noted []Noted) error {
	err := <-c.may
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		var ops []Op
		for _, n := range noted {
			ops = append(ops, Op{Key: "pushed " + n.Key, Value: fmt.Appendf(nil, "%s by %d", n.Value, n.Number)})
		}
		c.batches = append(c.batches, ops)
	}
	return err
}

// TestNotedMeanwhile checks that a value that is put while a push hangs, or is delayed, is
// noted soon, or immediately on request, and is pushed as soon as possible.
func TestNotedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &copied{may: make(chan error)}
		w := NewWriter(c, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		v := w.View("")
		want := func(what, want string) {
			t.Helper()
			synctest.Wait()
			if got := c.told(); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		v.Put("a", 1)
		v.Put("b", 1)
		time.Sleep(writeAfter)
		want("a push hangs", "a=1 b=1")
		v.Put("a", 2)
		time.Sleep(writeAfter)
		want("it still hangs", "a=2")
		c.may <- errors.New("no answer")
		v.Put("a", 3)
		time.Sleep(firstRetry / 4) // less than the shortest pause
		v.Hurry()
		want("it has failed", "a=3")
		c.may <- nil
		want("it goes on", "pushed a=3 by 3 pushed b=1 by 1")
		v.Put("a", 4)
		cancel()
		c.may <- nil
		<-ended
		want("at the end", "a=4\npushed a=4 by 4")
	})
}
