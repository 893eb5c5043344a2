package state

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Writer writes in the background: the caller of Put continues at once, and all values of
// the last half second are written in one batch. A value replaces an earlier one that was
// not written yet, so the number of keys bounds what is pending. If a write fails, because
// the disk is full or the store is unavailable, the Writer retries until it succeeds. It is
// safe for concurrent use.
//
// A process that is killed loses the values of the last half second, so a Writer is for
// what can be rediscovered. For anything else, call Flush. If the store is [Copied], no
// more is lost while the store hangs or is unavailable.
//
// Callers put and read values by a [View].
type Writer struct {
	store Copied
	log   *slog.Logger
	delay time.Duration

	noting   chan struct{} // holds a token while somebody notes
	flushing chan struct{} // holds a token while somebody pushes

	mu      sync.Mutex
	pending map[string]change
	owed    map[string]Noted
	deposed bool          // the term is over: nothing more is written
	failing Failure       // of the last push; zero: it succeeded
	wake    chan struct{} // holds a token when something is pending
	hurry   chan struct{} // holds a token when pending changes are to be written at once
	due     chan struct{} // holds a token when owed is not empty
	now     chan struct{} // holds a token when owed is to be pushed at once, however often that has failed
}

// change is an Op whose value is not encoded yet. If it is replaced before it is written,
// it never is.
type change struct {
	encode func() ([]byte, error)
	remove bool
}

// Failure is why the store has not accepted what is owed, and since when. It is that of
// the first write that failed: those after it are in the log.
type Failure struct {
	Since time.Time
	Err   error // nil: everything is written, or will be in a moment
}

const (
	writeAfter = 500 * time.Millisecond
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// lastWrite is the timeout of the last write of a process that is terminating.
	lastWrite = 5 * time.Second
)

// NewWriter returns a Writer to a store. It writes while Run runs.
func NewWriter(store Store, log *slog.Logger) *Writer {
	copied, is := store.(Copied)
	if !is {
		copied = uncopied{store}
	}
	return &Writer{store: copied, log: log, delay: writeAfter, pending: map[string]change{}, owed: map[string]Noted{},
		noting: make(chan struct{}, 1), flushing: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), due: make(chan struct{}, 1), now: make(chan struct{}, 1)}
}

// uncopied is a Store that has no copy.
type uncopied struct{ Store }

func (uncopied) Note(context.Context, []Op) uint64 { return 0 }

func (u uncopied) Push(ctx context.Context, noted []Noted) error {
	ops := make([]Op, len(noted))
	for i, n := range noted {
		ops[i] = n.Op
	}
	_, err := u.Apply(ctx, ops)
	return err
}

// maxKey is the longest key that every store accepts. A longer one must not keep the rest
// of its batch from being written.
const maxKey = 8 << 10 // bytes

// add adds changes, to be written in one batch.
func (w *Writer) add(changes map[string]change) {
	w.mu.Lock()
	for key, c := range changes {
		if len(key) > maxKey {
			w.log.Error("an entry was not saved for the next start: its name is too long", "name", key[:maxKey/100], "bytes", len(key))
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

// Flush writes what is pending and waits for it. What can't be written remains owed, unless
// the term of the write is over. Concurrent calls share a write.
func (w *Writer) Flush(ctx context.Context) error {
	if err := w.note(ctx); err != nil {
		return err
	}
	return w.push(ctx)
}

// Failing returns why what was put is not in the store. A nil Writer stores nothing.
func (w *Writer) Failing() Failure {
	if w == nil {
		return Failure{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failing
}

// take takes a token, or returns the error of ctx.
func take(ctx context.Context, token chan<- struct{}) error {
	select {
	case token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note writes what is pending to the copy and adds it to owed.
func (w *Writer) note(ctx context.Context) error {
	if err := take(ctx, w.noting); err != nil {
		return err
	}
	defer func() { <-w.noting }()
	w.mu.Lock()
	changes, deposed := w.pending, w.deposed
	w.pending = map[string]change{}
	w.mu.Unlock()
	if deposed {
		return nil
	}
	ops := w.encode(changes)
	if len(ops) == 0 {
		return nil
	}
	n := w.store.Note(ctx, ops)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range ops {
		w.owed[op.Key] = Noted{op, n}
	}
	tell(w.due)
	return nil
}

// push writes what is owed to the store.
func (w *Writer) push(ctx context.Context) error {
	if err := take(ctx, w.flushing); err != nil {
		return err
	}
	defer func() { <-w.flushing }()
	if err := w.note(ctx); err != nil { // from other callers that wait for this push
		return err
	}
	w.mu.Lock()
	owed, deposed := w.owed, w.deposed
	w.owed = map[string]Noted{}
	w.mu.Unlock()
	if deposed {
		return ErrDeposed
	}
	err := w.pushAll(ctx, owed)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.failing = Failure{}
		return nil
	}
	if errors.Is(err, ErrDeposed) {
		w.deposed, w.failing = true, Failure{}
		return err
	}
	if ctx.Err() == nil && w.failing.Err == nil { // otherwise it is the caller who does not wait
		w.failing = Failure{time.Now(), err}
	}
	for key, n := range owed {
		if _, newer := w.owed[key]; !newer {
			w.owed[key] = n
		}
	}
	tell(w.due)
	return err
}

// pushAll writes owed, without entries that the store will never accept.
func (w *Writer) pushAll(ctx context.Context, owed map[string]Noted) error {
	for len(owed) > 0 {
		all := make([]Noted, 0, len(owed))
		for _, n := range owed {
			all = append(all, n)
		}
		err := w.store.Push(ctx, all)
		refused, is := errors.AsType[*RefusedError](err)
		if !is {
			return err
		}
		if _, ours := owed[refused.Key]; !ours {
			return err
		}
		w.log.Error("can't save an entry for the next start", "key", refused.Key, "error", refused.Err)
		delete(owed, refused.Key)
	}
	return nil
}

// encode returns changes as operations of a store. It drops those that can't be encoded.
func (w *Writer) encode(changes map[string]change) []Op {
	ops := make([]Op, 0, len(changes))
	for key, c := range changes {
		op := Op{Key: key, Remove: c.remove}
		if !c.remove {
			var err error
			if op.Value, err = c.encode(); err != nil {
				w.log.Error("can't save an entry for the next start", "key", key, "error", err)
				continue
			}
		}
		ops = append(ops, op)
	}
	return ops
}
