// Package source is where definitions come from: a directory of files that
// people and tools write to as they please.
//
// Start with [Directory]: Run watches it and emits an [Update] for each change,
// always with the whole set of definitions. It promises:
//
//   - One bad file (half written, unreadable, wrong, at odds with another) takes
//     neither the other files away nor its own last good content, which is kept
//     on disk for the next start. A file that was deleted is gone.
//   - A document that never was good leaves a hole: where it may be a filter,
//     the listeners that it may be meant for are withheld, but for those that
//     were in force before.
//   - A directory that can't be read changes nothing: only one that is there
//     and empty means that nothing is wanted.
//   - What would remove most definitions at once is held back, as an unmounted
//     volume looks just so, and told; see [Directory.RemoveAll].
//   - What is emitted is never half of a change made by renaming, by swapping
//     links (Kubernetes' ConfigMaps), or within [Directory.Quiet].
//   - Definitions of files that did not change stay the same, pointers and all.
//
// Events of the operating system are hints only: at each, the tree is walked,
// and what looks other than before is read. So lost events and overflows cost
// time but no truth, and where there are no events, polling does as well.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/files"
	"wasmxds/state"
)

// Update is the directory as it stands. Immutable.
type Update struct {
	// Set is nil as long as nothing is known: the directory could not be read
	// since the start, and nothing had been kept. That is not an empty set.
	Set      *definition.Set
	Problems []definition.Problem // by file and line
	Changed  time.Time            // when the first change that led here was seen
	Began    time.Time            // when it was read, once it was quiet
	Files    int                  // that hold definitions, bad ones included
	Held     Removal              // a removal that is held back; Problems tells of it, too
}

// Directory is a folder of definitions: *.yaml, *.yml and *.json in it and
// below. Names that begin with "." or end with "~" are passed over, symbolic
// links are followed. Set Path; all else has a default. It must not be copied
// or changed once Run is called.
type Directory struct {
	Path string
	// Roots are the folders that links may lead into besides Path.
	Roots []string

	Quiet time.Duration // without changes, before they are taken in; default 10 ms
	Max   time.Duration // that changes may go on before they are taken in all the same, and that a file must be missing to be gone; default 200 ms
	Poll  time.Duration // between looks where changes aren't told; default 1 s
	Audit time.Duration // between looks where they are, for what is not told all the same (network file systems); default 30 s

	MaxFiles int   // more are left out, and said to be; default 10000
	MaxSize  int64 // bytes; a larger file is bad; default definition.MaxSize

	RemoveAll bool // take away any number of definitions at once; else a change that removes more than half of four or more is held back

	State *state.Writer // keeps the last good content of each file; nil: it is not kept
	Log   *slog.Logger  // default slog.Default()

	once   sync.Once
	rescan chan chan<- struct{}

	// For tests: definition's, and the operating system's.
	parse func(string, []byte) definition.Parsed
	merge func([]*definition.File) (*definition.Set, []definition.Problem)
	open  func() (*notifier, error)
}

// Rescan has every file read again, however unchanged it looks, and returns
// when what came of it has been emitted, or ctx ends. It may be called at any
// time, by anyone but emit.
func (d *Directory) Rescan(ctx context.Context) error {
	done := make(chan struct{}, 1)
	select {
	case d.rescans() <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Directory) rescans() chan chan<- struct{} {
	d.once.Do(func() { d.rescan = make(chan chan<- struct{}) })
	return d.rescan
}

// Run emits the directory as it is, and again whenever its definitions or
// problems are others than before, until ctx ends; then it returns nil. It
// calls emit from one goroutine, and looks no further until emit returns. An
// error says that the Directory is not set up right; nothing was emitted then.
func (d *Directory) Run(ctx context.Context, emit func(Update)) error {
	if d.Path == "" {
		return errors.New("definitions: no directory given")
	}
	log := d.Log
	if log == nil {
		log = slog.Default()
	}
	roots, err := files.NewRoots(append([]string{d.Path}, d.Roots...)...)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	w := newWatch(d.notifier(), log)
	defer w.end()
	l := d.loop(w, newLastGood(d.State, log), log)
	l.roots, l.table.open = roots, roots.Open
	l.emit = emit
	l.run(ctx, d.rescans())
	return nil
}

func (d *Directory) notifier() func() (*notifier, error) {
	if d.open != nil {
		return d.open
	}
	return inotify
}

// loop puts the defaults in.
func (d *Directory) loop(w *watch, kept *lastGood, log *slog.Logger) *loop {
	l := &loop{
		path:  d.Path,
		quiet: cmp.Or(d.Quiet, 10*time.Millisecond),
		max:   cmp.Or(d.Max, 200*time.Millisecond),
		poll:  cmp.Or(d.Poll, time.Second),
		audit: cmp.Or(d.Audit, 30*time.Second),
		watch: w,
		log:   log,
	}
	l.table = &table{
		quiet:     l.quiet,
		max:       l.max,
		size:      cmp.Or(d.MaxSize, definition.MaxSize),
		count:     cmp.Or(d.MaxFiles, 10_000),
		parse:     kinds.Parser().Read,
		merge:     definition.Merge,
		kept:      kept,
		log:       log,
		root:      d.Path,
		removeAll: d.RemoveAll,
		files:     map[string]*file{},
	}
	if d.parse != nil {
		l.table.parse, l.table.merge = d.parse, d.merge
	}
	return l
}
