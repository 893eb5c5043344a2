package state

import (
	"context"
	"errors"
	"log/slog"
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
// for what can be found out again. What can't waits for Flush.
//
// Who puts and reads does so by a [View].
type Writer struct {
	store Store
	log   *slog.Logger
	delay time.Duration

	flushing chan struct{} // holds a token while somebody writes

	mu      sync.Mutex
	pending map[string]change
	wake    chan struct{} // holds a token when something is pending
	hurry   chan struct{} // holds a token when that is to be written at once
}

// change is an Op whose value is not encoded yet: one that is replaced before it
// is written never is.
type change struct {
	encode func() ([]byte, error)
	remove bool
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
	return &Writer{store: store, log: log, delay: writeAfter, pending: map[string]change{}, flushing: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// maxKey is what any store takes: one that is too long must not keep the rest of
// its batch from being written.
const maxKey = 8 << 10 // bytes

// add has changes written in one batch.
func (w *Writer) add(changes map[string]change) {
	w.mu.Lock()
	for key, c := range changes {
		if len(key) > maxKey {
			w.log.Error("what changed is not kept for the next start: its name is too long", "name", key[:maxKey/100], "bytes", len(key))
			continue
		}
		w.pending[key] = c
	}
	w.mu.Unlock()
	tell(w.wake)
}

func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
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
			if err := w.Flush(last); err != nil {
				w.log.Error("what changed last is not kept for the next start", "error", err)
			}
			return
		case <-wake:
			timer.Reset(w.delay)
			armed = true
			continue
		case <-w.hurry:
		case <-timer.C:
		}
		armed = false
		timer.Stop()
		err := w.Flush(ctx)
		if err == nil {
			pause.Reset()
			continue
		}
		if errors.Is(err, ErrDeposed) {
			w.log.Info("what changed last is not written: another process leads", "error", err)
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

// Flush writes what is pending, and waits for it; what can't be written is
// pending again, unless the term is over in which it was to be. Those who call at
// the same time share a write.
func (w *Writer) Flush(ctx context.Context) error {
	select {
	case w.flushing <- struct{}{}:
		defer func() { <-w.flushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	changes := w.pending
	w.pending = map[string]change{}
	w.mu.Unlock()
	ops := w.encode(changes)
	if len(ops) == 0 {
		return nil
	}
	err := w.apply(ctx, ops, changes)
	if err == nil || errors.Is(err, ErrDeposed) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, c := range changes {
		if _, newer := w.pending[key]; !newer {
			w.pending[key] = c
		}
	}
	tell(w.wake)
	return err
}

// apply writes ops, but for those of changes that the store will never take.
func (w *Writer) apply(ctx context.Context, ops []Op, changes map[string]change) error {
	for len(ops) > 0 {
		_, err := w.store.Apply(ctx, ops)
		refused, is := errors.AsType[*RefusedError](err)
		if !is || !slices.ContainsFunc(ops, func(op Op) bool { return op.Key == refused.Key }) {
			return err
		}
		w.log.Error("what changed can't be kept for the next start", "key", refused.Key, "error", refused.Err)
		delete(changes, refused.Key)
		ops = slices.DeleteFunc(ops, func(op Op) bool { return op.Key == refused.Key })
	}
	return nil
}

// encode gives the changes as a store takes them. What can't be encoded is left
// out for good.
func (w *Writer) encode(changes map[string]change) []Op {
	ops := make([]Op, 0, len(changes))
	for key, c := range changes {
		op := Op{Key: key, Remove: c.remove}
		if !c.remove {
			var err error
			if op.Value, err = c.encode(); err != nil {
				w.log.Error("what changed can't be kept for the next start", "key", key, "error", err)
				delete(changes, key)
				continue
			}
		}
		ops = append(ops, op)
	}
	return ops
}
