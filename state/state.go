// Package state is what must outlive a process: the last good documents, what
// each definition's module was, which versions Envoys have run, which listeners
// they were sent. It is small, and it is needed at the next start; modules
// themselves are files, kept by their content in package module.
//
// Start with [Store], the interface. state/local is the one on this machine's
// disk, state/etcd and state/kube are those that several processes share, and
// state/mirror is one of these with a copy on the disk. Whoever only wants a value
// kept, and not to wait for it, uses a [Writer].
package state

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Revision tells versions of an entry apart. A later write anywhere in a store
// has a greater one. 0 is that of an entry that does not exist.
type Revision uint64

// Entry is a value and its key. Keys are paths: "proved/hello". Those that begin
// with a dot are the stores' own.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision
}

// Event is an entry that was written, or, if Gone, removed.
type Event struct {
	Entry
	Gone bool
	More bool // the next event is of the same batch
}

// Op is a write of a batch: Value is put at Key, or Key is removed.
type Op struct {
	Key    string
	Value  []byte
	Remove bool
}

// String says what an Op does, not the value.
func (o Op) String() string {
	if o.Remove {
		return "delete " + o.Key
	}
	return "put " + o.Key
}

var (
	// ErrNotFound: there is no entry of this key.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the entry is not at the revision that it was to have.
	ErrConflict = errors.New("changed meanwhile")
	// ErrCompacted: what happened since that revision is not known any more.
	// List again, and watch from there.
	ErrCompacted = errors.New("revision too old")
	// ErrDeposed: the term in which that was to be written is over. Somebody else
	// may lead by now.
	ErrDeposed = errors.New("no longer the leader")
)

// RefusedError says that a store will never take this entry, however often it is
// asked: it is too large.
type RefusedError struct {
	Key string
	Err error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %v", e.Key, e.Err) }
func (e *RefusedError) Unwrap() error { return e.Err }

// Store keeps entries. It is safe for concurrent use. What a method has
// returned without an error survives the end of the process, and of the
// machine.
type Store interface {
	// Get gives an entry, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List gives the entries whose keys begin with prefix, by key, as they were at
	// one moment, and the revision of the store then: the one to watch from.
	List(ctx context.Context, prefix string) ([]Entry, Revision, error)
	// Put writes an entry that is at revision was (0: that does not exist), or
	// gives ErrConflict.
	Put(ctx context.Context, key string, value []byte, was Revision) (Revision, error)
	// Delete removes an entry that is at revision was, or gives ErrConflict.
	Delete(ctx context.Context, key string, was Revision) error
	// Apply does all of a batch or none of it, whatever the entries are at, and
	// gives a revision of the store at which it is done. Where a key comes twice
	// the last counts. An entry that the store can't take at all gives a
	// *RefusedError.
	Apply(ctx context.Context, ops []Op) (Revision, error)
	// Watch tells of what is written under prefix after a revision, in order,
	// until ctx ends or with an error as the last element: ErrCompacted, or what
	// befell the store.
	Watch(ctx context.Context, prefix string, from Revision) iter.Seq2[Event, error]
	// Lead waits until the caller is the only one that leads under this name.
	Lead(ctx context.Context, name string) (Term, error)
}

// Copied is a Store on other machines that has a copy on this one. Apply does both of
// two steps: what is noted survives the end of this process at once, and what is pushed
// is there for all.
type Copied interface {
	Store
	// Note writes ops to the copy, as owed to the store, and waits for nobody else. It
	// gives them a number, also where the copy can't be written: Push tries that again.
	Note(ctx context.Context, ops []Op) uint64
	// Push writes to the store what was noted, or, where something newer was noted of a
	// key, that. Its errors are those of Apply.
	Push(ctx context.Context, noted []Noted) error
}

// Noted is an Op and its number.
type Noted struct {
	Op
	Number uint64
}

// Term is a time of leading. It ends when Done is closed, at the latest when its
// context ends.
type Term interface {
	Number() uint64 // greater than that of every term before, under this name
	Done() <-chan struct{}
	// Store is the store, to be written to in this term alone: later it gives
	// ErrDeposed and writes nothing, also where Done is not closed yet, as the
	// process was paused or its clock is wrong.
	Store() Store
	End() // may be called more than once
}

// Fenced is a [Store] in a term: it reads as that does, and writes by functions that
// give ErrDeposed when the term is over.
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
