// Package state is what must outlive a process: the last good documents, what
// each definition's module was, which versions Envoys have run, which listeners
// they were sent. It is small, and it is needed at the next start; modules
// themselves are files, kept by their content in package module.
//
// Start with [Store], the interface, of which state/local is the one on this
// machine's disk. Whoever only wants a value kept, and not to wait for it, uses
// a [Writer].
package state

import (
	"context"
	"errors"
	"iter"
)

// Revision tells versions of an entry apart. A later write anywhere in a store
// has a greater one. 0 is that of an entry that does not exist.
type Revision uint64

// Entry is a value and its key. Keys are paths: "proved/hello".
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision
}

// Event is an entry that was written, or, if Gone, removed.
type Event struct {
	Entry
	Gone bool
}

// Op is a write of a batch: Value is put at Key, or Key is removed.
type Op struct {
	Key    string
	Value  []byte
	Remove bool
}

var (
	// ErrNotFound: there is no entry of this key.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the entry is not at the revision that it was to have.
	ErrConflict = errors.New("changed meanwhile")
	// ErrCompacted: what happened since that revision is not known any more.
	// List again, and watch from there.
	ErrCompacted = errors.New("revision too old")
)

// Store keeps entries. It is safe for concurrent use. What a method has
// returned without an error survives the end of the process, and of the
// machine.
type Store interface {
	// Get gives an entry, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List gives the entries whose keys begin with prefix, by key.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Put writes an entry that is at revision was (0: that does not exist), or
	// gives ErrConflict.
	Put(ctx context.Context, key string, value []byte, was Revision) (Revision, error)
	// Delete removes an entry that is at revision was, or gives ErrConflict.
	Delete(ctx context.Context, key string, was Revision) error
	// Apply does all of a batch or none of it, whatever the entries are at.
	// Where a key comes twice the last counts.
	Apply(ctx context.Context, ops []Op) error
	// Watch tells of what is written under prefix after a revision, in order,
	// until ctx ends or with an error as the last element: ErrCompacted, or what
	// befell the store.
	Watch(ctx context.Context, prefix string, from Revision) iter.Seq2[Event, error]
	// Lead waits until the caller is the only one that leads under this name.
	Lead(ctx context.Context, name string) (Term, error)
}

// Term is a time of leading. It ends when Done is closed, at the latest when its
// context ends.
type Term interface {
	Number() uint64 // greater than that of every term before, under this name
	Done() <-chan struct{}
	End() // may be called more than once
}
