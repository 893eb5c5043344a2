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

// disk is a Store that only takes batches, if it is not full.
type disk struct {
	Store
	mu      sync.Mutex
	full    bool
	batches [][]Op
}

func (d *disk) Apply(_ context.Context, ops []Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errors.New("no space left on device")
	}
	d.batches = append(d.batches, ops)
	return nil
}

// told is what was written, a batch a line.
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
		w := NewWriter(d, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		want := func(what, want string) {
			t.Helper()
			if got := d.told(); got != want {
				t.Errorf("%s: wrote %q, want %q", what, got, want)
			}
		}
		w.Put("a", []byte("1"))
		w.Put("b", []byte("1"))
		w.Put("a", []byte("2"))
		want("at once", "")
		time.Sleep(time.Second)
		want("after a moment", "a=2 b=1")

		d.full = true
		w.Put("a", []byte("3"))
		w.Remove("b")
		time.Sleep(time.Minute)
		w.Put("b", []byte("4"))
		d.mu.Lock()
		d.full = false
		d.mu.Unlock()
		time.Sleep(time.Minute)
		want("when there is room again", "a=3 b=4")

		w.Put("c", []byte("5"))
		cancel()
		<-ended
		want("at the end", "c=5")
	})
}
