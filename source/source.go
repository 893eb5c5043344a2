// Package source makes one whole of the definitions that discoverers find:
// documents, in a directory or wherever else people and tools write them.
//
// Start with [Join]: Run emits an [Update] for each change, always with the
// whole set of definitions. Package dir has the [Discoverer] of a directory.
// Join promises:
//
//   - One bad document (unreadable, wrong, at odds with another) takes neither
//     the others away nor its own last good content, which is kept on disk for
//     the next start. A document that is gone is gone.
//   - A document that never was good leaves a hole: where it may be a filter,
//     the listeners that it may be meant for are withheld, but for those that
//     were in force before.
//   - A source of which nothing is known changes nothing: only one that was read
//     as a whole, and is empty, means that nothing is wanted.
//   - What would remove most definitions at once is held back, as an unmounted
//     volume looks just so, and told; see [Join.RemoveAll].
//   - Definitions of documents that did not change stay the same, pointers and
//     all.
package source

import (
	"context"
	"path/filepath"
	"time"

	"wasmxds/definition"
)

// Key is what a document is known by, for as long as it is there.
type Key struct {
	Source string // name of the source
	Name   string // within it: edge/hello.yaml
}

// Dir is the name of the source that is a directory of files.
const Dir = "dir"

// String names the document to people, where it is no file.
func (k Key) String() string { return k.Source + " " + k.Name }

// Document is the newest that a source has of a document.
type Document struct {
	Key      Key
	Revision string // differs when Data does; for logs
	Base     string // folder that relative module URLs are resolved against; "": none are allowed
	Data     []byte // nil: as it was, or, at first, not known yet
	Gone     bool   // it was deleted

	// Trouble says why the document can't be read, though it is there. What was
	// good of it goes on; while Trouble is a warning, so does what it held last.
	Trouble *definition.Problem
}

// name is what problems call the document, where it is no object.
func (d *Document) name() string {
	if d.Base == "" {
		return d.Key.String()
	}
	return filepath.Join(d.Base, filepath.Base(d.Key.Name))
}

// Batch is what belongs together, and is taken in at once. One that is not
// Whole and has no documents changes nothing; once it is received, what was
// sent before has been emitted.
type Batch struct {
	Source string
	Whole  bool // what is not in it is gone, but for what is Unknown
	Docs   []Document

	// Of a whole batch, and until the next one:

	Unknown []Unknown           // parts of the source that can't be read
	LeftOut *definition.Problem // there are more documents than are read; what is not in the batch may be among them

	Changed time.Time // when the first change that led here was seen; zero: now
	Began   time.Time // when it was read; zero: now
}

// Unknown is a part of a source of which nobody can say what is in it. It is
// not empty: what was known of it goes on.
type Unknown struct {
	Below   string // names that begin with this and a slash; "": all
	Like    string // of these, the names that match, as path.Match has it; "": all
	Problem definition.Problem
	Slight  bool // it is not worth a word if nothing was ever known of it
}

// Discoverer finds the documents of one source.
type Discoverer interface {
	// Run sends what there is, and then what changes, until ctx ends; then it
	// returns nil. The first batch is whole; if nothing can be read, all of it
	// is Unknown. An error says that the source is not set up right.
	Run(ctx context.Context, up chan<- Batch) error
}

// Update is all sources as they stand. Immutable.
type Update struct {
	// Set is nil as long as nothing is known of some source: it could not be
	// read since the start, and nothing had been kept. That is not an empty set.
	Set      *definition.Set
	Problems []definition.Problem // by document and line
	Changed  time.Time            // when the first change that led here was seen
	Began    time.Time            // when it was read, once it was quiet
	Files    int                  // documents, bad ones included
	Held     Removal              // a removal that is held back; Problems tells of it, too
	HeldID   string               // what Join.Release calls it: another for each set of definitions that would go
}

// Object is what became of an object.
type Object struct {
	Revision string // the newest that was taken in
	Good     bool   // it is what counts
	Problems []definition.Problem
}
