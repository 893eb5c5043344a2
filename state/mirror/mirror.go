// Package mirror is a state.Store that several processes share, with a copy of it
// on this machine's disk: a process starts, and goes on, where the shared store
// can't be reached.
//
// Start with [Open]; [Store.Run] keeps the copy the same. Everything is read from
// the copy. What is written is noted in the copy first, as pending, and then pushed to
// the shared store: only when it is there it counts as written. A push that hangs keeps
// nothing from being noted. What is pending when a process ends is pushed by the next
// one, if nobody else has written that entry meanwhile; what this process has pushed
// itself, and had no answer for, is nobody else's.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wasmxds/state"
)

// Remote is a store that is shared.
type Remote interface {
	state.Store
	// ID names what is kept there, and gives the revision of now. It is another if
	// all of it was lost.
	ID(ctx context.Context) (string, state.Revision, error)
	// ApplySince is Apply where no entry below prefix was written after a revision;
	// else it gives state.ErrConflict.
	ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error)
}

// Options are what a Store is made of.
type Options struct {
	Name   string // of the shared store, for people: "etcd"
	Remote Remote
	// Local has the copy, at the same keys, and what the copy is of at others that
	// begin with a dot. It may have entries of its own besides.
	Local state.Store
	// Shared are what keys of the shared store begin with.
	Shared []string
	// Whole are those of Shared whose entries only make sense together.
	Whole []string
	// Led are those of Whole that are written to the shared store in a term alone: what
	// is pending of them is pushed when the next term begins.
	Led []string
	// Wait is how long Open waits for the shared store where there is a copy.
	Wait time.Duration
	Log  *slog.Logger
}

// Store is the store. It is safe for concurrent use.
type Store struct {
	o Options

	pushing chan struct{} // holds a token while somebody writes to the shared store
	changed chan struct{}

	mu      sync.Mutex // also held while the copy is written
	marks   map[string]mark
	saved   map[string]mark // as the disk has them
	refused map[string]bool // pending, and the shared store will never take them
	notes   uint64
	noted   map[string]uint64 // what was noted last of an entry, and is not known to be in the shared store
	missed  map[string]bool   // of these, what the copy could not take
	sent    map[string]string // hash of what an entry was pushed as last, if it may or may not be there
	id      string            // of the store that the copy is of; "": there is no copy
	at      state.Revision    // up to which the copy has all that happened
	synced  bool              // the copy was compared since this process began
	status  Status
}

// Status is how things stand with the shared store.
type Status struct {
	Name  string
	Since time.Time // when it was last found to be there, or to be away
	Away  string    // why it is away; "": it is there
	Copy  bool      // all since the start rests on the copy
}

// Open opens the store. Where the shared store is away it waits: for o.Wait if there
// is a copy, else until it is there, or ctx ends.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, pushing: make(chan struct{}, 1), changed: make(chan struct{}, 1), marks: map[string]mark{}, saved: map[string]mark{}, refused: map[string]bool{},
		noted: map[string]uint64{}, missed: map[string]bool{}, sent: map[string]string{}}
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("read the copy of what is in %s: %w", o.Name, err)
	}
	if s.id != "" {
		short, cancel := context.WithTimeout(ctx, o.Wait)
		defer cancel()
		if err := s.sync(short, nil); err != nil && ctx.Err() == nil {
			s.failed(err)
			o.Log.Error("starting from the copy of the state on this machine", "of", o.Name)
		}
		return s, ctx.Err()
	}
	o.Log.Info("reading the state: there is no copy on this machine", "in", o.Name)
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = lastRetry
	for {
		err := s.sync(ctx, nil)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("there is no copy, and it was not reached: %w", ctx.Err())
		}
		s.failed(err)
		again := pause.NextBackOff()
		o.Log.Error("waiting for the state: it is not known what Envoys were sent, and there is no copy here", "of", o.Name, "error", err, "again in", again)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("there is no copy, and it was not reached: %w", ctx.Err())
		case <-time.After(again):
		}
	}
}

// lastRetry is how long it takes at most to try again.
const lastRetry = 10 * time.Second

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	return s.o.Local.Get(ctx, key)
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	all, at, err := s.o.Local.List(ctx, prefix)
	return slices.DeleteFunc(all, func(e state.Entry) bool { return !s.shared(e.Key) }), at, err
}

// Watch implements state.Store.
func (s *Store) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return s.o.Local.Watch(ctx, prefix, from)
}

// Apply implements state.Store.
func (s *Store) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return s.apply(ctx, ops, s.unled())
}

// Push implements state.Copied.
func (s *Store) Push(ctx context.Context, noted []state.Noted) error {
	return s.push(ctx, noted, s.unled())
}

// unled writes without a term.
func (s *Store) unled() way { return way{apply: s.o.Remote.Apply} }

// Status tells how things stand.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Name, st.Copy = s.o.Name, !s.synced
	return st
}

// failed and worked note whether the shared store is there.
func (s *Store) failed(err error) {
	s.mu.Lock()
	first := s.status.Away == ""
	if first {
		s.status.Since = time.Now()
	}
	s.status.Away = err.Error()
	s.mu.Unlock()
	if first {
		s.o.Log.Error("the state can't be reached: what was last known stays in force, and no wave begins", "in", s.o.Name, "error", err)
	}
}

func (s *Store) worked() {
	s.mu.Lock()
	away, since := s.status.Away != "", s.status.Since
	if away || since.IsZero() {
		s.status.Since = time.Now()
	}
	s.status.Away = ""
	s.mu.Unlock()
	if away {
		s.o.Log.Info("the state can be reached again", "in", s.o.Name, "after", time.Since(since).Round(time.Millisecond))
	}
}

func (s *Store) shared(key string) bool {
	return !strings.HasPrefix(key, ".") && slices.ContainsFunc(s.o.Shared, func(p string) bool { return strings.HasPrefix(key, p) })
}

// led says whether an entry is written in a term alone.
func (s *Store) led(key string) bool {
	return slices.ContainsFunc(s.o.Led, func(p string) bool { return strings.HasPrefix(key, p) })
}

// errUnled: this process does not lead.
var errUnled = errors.New("this xds-server does not lead: it is written when it does, unless others have changed it by then")

// errUnsynced: nothing is written to a store before it is known what is there.
var errUnsynced = errors.New("it was not reached since xds-server started")
