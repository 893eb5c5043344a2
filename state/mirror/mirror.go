// Package mirror implements state.Store for a store that several processes share, with a
// copy of it on this machine's disk. With the copy, a process can start and continue when
// the shared store is unavailable.
//
// Start with [Open]; [Store.Run] keeps the copy in sync. All reads come from the copy. A
// write is first noted in the copy, as pending, and then pushed to the shared store. It is
// complete only when it is there. A push that hangs does not keep other writes from being
// noted. When a process ends, the next one pushes what is pending, unless another process
// has written the entry meanwhile. Values that this process has pushed itself without
// getting an answer are not taken for another process's.
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

// Remote is a store that several processes share.
type Remote interface {
	state.Store
	// ID returns an identifier of the stored data and the current revision. The identifier
	// changes if all data was lost.
	ID(ctx context.Context) (string, state.Revision, error)
	// ApplySince is like Apply, but returns state.ErrConflict if an entry under prefix was
	// written after revision at.
	ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error)
}

// Options configure a Store.
type Options struct {
	Name   string // of the shared store, for people: "etcd"
	Remote Remote
	// Local contains the copy, at the same keys, and at keys that begin with a dot what
	// describes it. It may also contain other entries.
	Local state.Store
	// Shared are the prefixes of the keys of the shared store.
	Shared []string
	// Whole are those of Shared whose entries only make sense together.
	Whole []string
	// Led are those of Whole that are written to the shared store only in a term: what is
	// pending of them is pushed when the next term begins.
	Led []string
	// Wait is how long Open waits for the shared store where there is a copy.
	Wait time.Duration
	Log  *slog.Logger
}

// Store implements state.Store. It is safe for concurrent use.
type Store struct {
	o Options

	pushing chan struct{} // holds a token while somebody writes to the shared store
	changed chan struct{}

	mu      sync.Mutex // also held while writing the copy
	marks   map[string]mark
	saved   map[string]mark // as they are on disk
	refused map[string]bool // pending, but the shared store will never accept it
	notes   uint64
	noted   map[string]uint64 // number of the last note of an entry that is not known to be in the shared store
	missed  map[string]bool   // those of noted that could not be written to the copy
	sent    map[string]string // hash of the value last pushed, if it may or may not have arrived
	id      string            // ID of the store that was copied; "": there is no copy
	at      state.Revision    // the copy has all events up to this revision
	synced  bool              // the copy was compared since this process began
	status  Status
}

// Status describes the connection to the shared store.
type Status struct {
	Name  string
	Since time.Time // when it was last found to be available, or unavailable
	Away  string    // why it is unavailable; "": it is available
	Copy  bool      // since the start, everything relies on the copy
}

// Open opens the store. If the shared store is unavailable, it waits for o.Wait if there is
// a copy, and otherwise until the store is available or ctx ends.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, pushing: make(chan struct{}, 1), changed: make(chan struct{}, 1), marks: map[string]mark{}, saved: map[string]mark{}, refused: map[string]bool{},
		noted: map[string]uint64{}, missed: map[string]bool{}, sent: map[string]string{}}
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("read the local copy of the state in %s: %w", o.Name, err)
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
			return nil, fmt.Errorf("there is no local copy, and it can't be reached: %w", ctx.Err())
		}
		s.failed(err)
		again := pause.NextBackOff()
		o.Log.Error("waiting for the state: it is not known what Envoys were sent, and there is no copy here", "of", o.Name, "error", err, "again in", again)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("there is no local copy, and it can't be reached: %w", ctx.Err())
		case <-time.After(again):
		}
	}
}

// lastRetry is the longest interval between two attempts.
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

// unled returns the way to write without a term.
func (s *Store) unled() way { return way{apply: s.o.Remote.Apply} }

// Status returns the status of the shared store.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Name, st.Copy = s.o.Name, !s.synced
	return st
}

// failed and worked record whether the shared store is available.
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

// led reports whether an entry is written only in a term.
func (s *Store) led(key string) bool {
	return slices.ContainsFunc(s.o.Led, func(p string) bool { return strings.HasPrefix(key, p) })
}

// errUnled means that this process does not lead.
var errUnled = errors.New("this replica does not lead: it writes this when it leads, unless others have changed it by then")

// errUnsynced means that the content of the shared store is unknown, so nothing may be
// written to it.
var errUnsynced = errors.New("not reached since xds-server started")
