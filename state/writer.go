package state

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Writer writes behind: who puts a value goes on at once, and what was put
// within a moment is written in one batch. A value that replaces one that was
// not written yet takes its place, so what waits is bounded by the number of
// keys. What can't be written, because a disk is full or a store is away, is
// tried again until it can. It is safe for concurrent use.
//
// A process that is killed loses what was put in the last moment, so a Writer is
// for what can be found out again.
type Writer struct {
	store Store
	log   *slog.Logger
	delay time.Duration

	mu      sync.Mutex
	pending map[string]Op
	wake    chan struct{} // holds a token when something is pending
}

const (
	writeAfter = 500 * time.Millisecond
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// lastWrite is how long the last write may take, of a process that is asked
	// to end.
	lastWrite = 5 * time.Second
)

// NewWriter makes a Writer to a store; it writes while Run runs.
func NewWriter(store Store, log *slog.Logger) *Writer {
	return &Writer{store: store, log: log, delay: writeAfter, pending: map[string]Op{}, wake: make(chan struct{}, 1)}
}

// Put has value kept at key. The value must not be changed any more.
func (w *Writer) Put(key string, value []byte) { w.add(Op{Key: key, Value: value}) }

// Remove has the entry at key removed.
func (w *Writer) Remove(key string) { w.add(Op{Key: key, Remove: true}) }

func (w *Writer) add(op Op) {
	w.mu.Lock()
	w.pending[op.Key] = op
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is told already
	}
}

// Run writes until ctx ends, and then what is left, once.
func (w *Writer) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, lastRetry
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	armed := false
	for {
		wake := w.wake
		if armed {
			wake = nil
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			if err := w.flush(last); err != nil {
				w.log.Error("what changed last is not kept for the next start", "error", err)
			}
			return
		case <-wake:
			timer.Reset(w.delay)
			armed = true
		case <-timer.C:
			armed = false
			err := w.flush(ctx)
			if err == nil {
				pause.Reset()
				continue
			}
			if ctx.Err() == nil {
				again := pause.NextBackOff()
				w.log.Error("what changed would not survive a restart; it is tried again", "error", err, "in", again)
				timer.Reset(again)
				armed = true
			}
		}
	}
}

// flush writes what is pending; what could not be written is pending again.
func (w *Writer) flush(ctx context.Context) error {
	w.mu.Lock()
	ops := slices.Collect(maps.Values(w.pending))
	clear(w.pending)
	w.mu.Unlock()
	if len(ops) == 0 {
		return nil
	}
	err := w.store.Apply(ctx, ops)
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range ops {
		if _, newer := w.pending[op.Key]; !newer {
			w.pending[op.Key] = op
		}
	}
	return err
}
