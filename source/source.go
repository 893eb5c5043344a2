// Package source combines the documents that discoverers find, in a directory
// or elsewhere, into one set of definitions.
//
// Start with [Join]: Run emits an [Update] for each change, always with the
// complete set of definitions. Package dir has the [Discoverer] of a directory.
// Join guarantees:
//
//   - A bad document (unreadable, invalid, in conflict with another) affects
//     neither the others nor its own last good content, which is stored on disk
//     for the next start. A document that was deleted is gone.
//   - A document that was never good leaves a hole: if it may be a filter, the
//     listeners that it may apply to are withheld, except those that were in
//     force before.
//   - An unknown source changes nothing: only a source that was read completely,
//     and is empty, means that there are no definitions.
//   - A change that would remove most definitions at once is held back and
//     reported, since an unmounted volume looks the same; see [Join.RemoveAll].
//   - Definitions of documents that did not change keep their pointers.
package source

import (
	"context"
	"path/filepath"
	"time"

	"wasmxds/definition"
)

// Key identifies a document as long as it exists.
type Key struct {
	Source string // name of the source
	Name   string // within the source, such as edge/hello.yaml
}

// Dir is the name of the source that is a directory of files.
const Dir = "dir"

// String returns the name for messages of a document that is not a file.
func (k Key) String() string { return k.Source + " " + k.Name }

// Document is the current state of a document.
type Document struct {
	Key      Key
	Revision string // changes with Data; for logs
	Base     string // folder that relative module URLs are resolved against; "": none are allowed
	Data     []byte // nil: unchanged or, at first, not known yet
	Gone     bool   // it was deleted

	// Trouble is why the document exists, but can't be read. Its last good
	// content stays in force. If Trouble is a warning, so does its current
	// content.
	Trouble *definition.Problem
}

// name returns the name for problems of a document that is not an object.
func (d *Document) name() string {
	if d.Base == "" {
		return d.Key.String()
	}
	return filepath.Join(d.Base, filepath.Base(d.Key.Name))
}

// Batch has changes that belong together, and are processed at once. One that
// is not Whole and has no documents changes nothing, but when it has been
// received, all earlier batches have been processed.
type Batch struct {
	Source string
	Whole  bool // what is not in it is gone, except for what is Unknown
	Docs   []Document

	// For a whole batch, and valid until the next one:

	Unknown []Unknown           // parts of the source that can't be read
	LeftOut *definition.Problem // some documents are left out because of a limit; what is missing from the batch may be among them

	Changed time.Time // when the first of the changes was seen; zero: now
	Began   time.Time // when the changes were read; zero: now
}

// Unknown is a part of a source whose content is unknown, not empty. Its last
// known content stays in force.
type Unknown struct {
	Below   string // names that begin with this, followed by a slash; "": all
	Like    string // of these, the names that match, in the syntax of path.Match; "": all
	Problem definition.Problem
	Slight  bool // not reported if the part was never known
}

// Discoverer finds the documents of one source.
type Discoverer interface {
	// Run sends the documents, and then their changes, until ctx ends. Then it
	// returns nil. The first batch is whole; if nothing can be read, it is
	// Unknown as a whole. Run returns an error if the source is not set up
	// correctly.
	Run(ctx context.Context, up chan<- Batch) error
}

// Update is the state of all sources. It is immutable.
type Update struct {
	// Set is nil as long as some source is unknown: it could not be read since
	// the start, and nothing was stored. This is not the same as an empty set.
	Set      *definition.Set
	Problems []definition.Problem // by document and line
	Changed  time.Time            // when the first of the changes was seen
	Began    time.Time            // when the changes were read, after they had settled
	Files    int                  // number of documents, including bad ones
	Held     Removal              // removal that is held back, which is also in Problems
	HeldID   string               // id for Join.Release, which depends on the definitions that would be removed
}

// Object is the state of a document that is a Kubernetes object.
type Object struct {
	Revision string // newest that was processed
	Good     bool   // it is in force
	Problems []definition.Problem
}
