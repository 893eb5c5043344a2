// Package state stores what must outlive a process: the last good documents, the module of
// each definition, the versions that Envoys have run, the listeners that they were sent.
// All of it is small, and needed at the next start. Modules themselves are files, stored by
// content in package module.
//
// Start with [Store], the interface. state/local stores on this machine's disk, state/etcd
// and state/kube are stores that several processes share, and state/mirror is one of these
// with a copy on the disk. To store a value without waiting for it, use a [Writer].
package state

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Revision identifies a version of an entry. A later write anywhere in a store has a
// greater revision. 0 is the revision of an entry that does not exist.
type Revision uint64

// Entry is a value and its key. Keys are paths, such as "proved/hello". Keys that begin
// with a dot are the stores' own.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision
}

// Event reports that an entry was written or, if Gone, removed.
type Event struct {
	Entry
	Gone bool
	More bool // the next event belongs to the same batch
}

// Op is one write of a batch: it puts Value at Key, or removes Key.
type Op struct {
	Key    string
	Value  []byte
	Remove bool
}

// String returns the operation and its key, without the value.
func (o Op) String() string {
	if o.Remove {
		return "delete " + o.Key
	}
	return "put " + o.Key
}

var (
	// ErrNotFound means that no entry has this key.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the entry is not at the expected revision.
	ErrConflict = errors.New("changed meanwhile")
	// ErrCompacted means that the events since that revision are no longer known. List
	// again, and watch from there.
	ErrCompacted = errors.New("revision too old")
	// ErrDeposed means that the term of the write is over. Another process may lead by now.
	ErrDeposed = errors.New("no longer the leader")
)

// RefusedError means that a store will never accept this entry, because it is too large or
// because the store does not hold its key.
type RefusedError struct {
	Key string
	Err error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %v", e.Key, e.Err) }
func (e *RefusedError) Unwrap() error { return e.Err }

// Store stores entries. It is safe for concurrent use. A write that has returned without an
// error survives the end of the process, and of the machine.
type Store interface {
	// Get returns an entry, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns the entries whose keys begin with prefix, by key, as they were at one
	// moment, and the revision of the store at that moment, to be passed to Watch.
	List(ctx context.Context, prefix string) ([]Entry, Revision, error)
	// Put writes an entry that is at revision was (0: that does not exist), or returns
	// ErrConflict.
	Put(ctx context.Context, key string, value []byte, was Revision) (Revision, error)
	// Delete removes an entry that is at revision was, or returns ErrConflict.
	Delete(ctx context.Context, key string, was Revision) error
	// Apply applies all of a batch or nothing, whatever the revisions of the entries are,
	// and returns a revision of the store that includes it. If a key occurs more than once,
	// the last operation applies. For an entry that the store can't accept at all, it
	// returns a *RefusedError.
	Apply(ctx context.Context, ops []Op) (Revision, error)
	// Watch yields the writes under prefix after revision from, in order, until ctx ends or
	// an error is the last element: ErrCompacted, or an error of the store.
	Watch(ctx context.Context, prefix string, from Revision) iter.Seq2[Event, error]
	// Lead waits until the caller is the only one that leads under this name.
	Lead(ctx context.Context, name string) (Term, error)
}

// Copied is a Store on other machines with a copy on this one. Apply does both of two
// steps: what is noted survives the end of this process at once, and what is pushed is
// visible to all.
type Copied interface {
	Store
	// Note writes ops to the copy, as still to be pushed, without waiting for the store. It
	// returns their number, even if the copy can't be written: Push then tries that again.
	Note(ctx context.Context, ops []Op) uint64
	// Push writes to the store what was noted. If something newer was noted for a key, Push
	// writes that instead. Its errors are those of Apply.
	Push(ctx context.Context, noted []Noted) error
}

// Noted is an Op and its number.
type Noted struct {
	Op
	Number uint64
}

// Term is a term of a leader. It ends when Done is closed, at the latest when its context
// ends.
type Term interface {
	Number() uint64 // greater than in all earlier terms under this name
	Done() <-chan struct{}
	// Store returns the store for writes in this term only. After the term, these return
	// ErrDeposed and write nothing, even if Done is not closed yet because the process was
	// paused or its clock is wrong.
	Store() Store
	End() // may be called more than once
}

// Fenced is a [Store] in a term. It reads like that store, and writes by functions that
// return ErrDeposed when the term is over.
type Fenced struct {
	Store
	Swap  func(ctx context.Context, op Op, was Revision) (Revision, error) // Put or Delete
	Batch func(ctx context.Context, ops []Op) (Revision, error)            // Apply
}

// Put implements Store.
func (f Fenced) Put(ctx context.Context, key string, value []byte, was Revision) (Revision, error) {
	return f.Swap(ctx, Op{Key: key, Value: value}, was)
}

// Delete implements Store.
func (f Fenced) Delete(ctx context.Context, key string, was Revision) error {
	_, err := f.Swap(ctx, Op{Key: key, Remove: true}, was)
	return err
}

// Apply implements Store.
func (f Fenced) Apply(ctx context.Context, ops []Op) (Revision, error) { return f.Batch(ctx, ops) }
