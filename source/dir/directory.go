// Package dir discovers definitions in a directory of files that people and
// tools may change in any way.
//
// Start with [Directory], a [source.Discoverer]: Run watches it. It guarantees:
//
//   - A directory that can't be read is unknown, not empty. The same is true of
//     each folder in it.
//   - A batch never has half of a change that is made by renaming, by swapping
//     links (Kubernetes' ConfigMaps), or within [Directory.Quiet].
//   - A file is sent when its content has changed, and never while it is being
//     written.
//
// Events of the operating system are only hints. After each, Directory walks
// the tree and reads what looks different. Lost events and overflows therefore
// only cost time, and if there are no events, polling works as well.
package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/source"
)

// Directory is a folder of definitions: *.yaml, *.yml and *.json in it and
// below. It ignores names that begin with "." or end with "~", and follows
// symbolic links. Path is required; all other fields have defaults. A Directory
// must not be copied or changed after Run is called.
type Directory struct {
	Path string
	// Roots are additional folders that links may lead into.
	Roots []string

	Quiet time.Duration // time without changes before they are read; default 10 ms
	Max   time.Duration // maximum time to wait for an end of changes, and how long a file must be missing to be removed; default 200 ms
	Poll  time.Duration // interval of walks if there are no events; default 1 s
	Audit time.Duration // interval of walks if there are events, for changes without one (network file systems); default 30 s

	MaxFiles int   // further files are left out, with a problem; default 10000
	MaxSize  int64 // in bytes; a larger file is an error; default definition.MaxSize

	Log *slog.Logger // default slog.Default()

	once   sync.Once
	rescan chan chan<- struct{}

	open func() (*notifier, error) // for tests
}

// Rescan reads every file again, even if it looks unchanged, and returns when
// the results have been processed, or ctx ends. It may be called at any time,
// except by the receiver of the batches.
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

// Run sends the content of the directory, and then its changes, until ctx ends.
// Then it returns nil. It returns an error, without sending anything, if the
// Directory is not set up correctly.
func (d *Directory) Run(ctx context.Context, up chan<- source.Batch) error {
	if d.Path == "" {
		return errors.New("definitions: no directory given")
	}
	log := cmp.Or(d.Log, slog.Default())
	roots, err := files.NewRoots(append([]string{d.Path}, d.Roots...)...)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	w := newWatch(d.notifier(), log)
	defer w.end()
	l := d.loop(w, log)
	l.roots, l.table.open = roots, roots.Open
	below, err := files.NewRoots(d.Path)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	l.table.config, l.table.stat = below.Open, below.Stat
	l.send = func(b source.Batch) {
		select {
		case up <- b:
		case <-ctx.Done():
		}
	}
	l.run(ctx, d.rescans())
	return nil
}

func (d *Directory) notifier() func() (*notifier, error) {
	if d.open != nil {
		return d.open
	}
	return inotify
}

// loop returns a loop with the defaults applied.
func (d *Directory) loop(w *watch, log *slog.Logger) *loop {
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
		quiet: l.quiet,
		max:   l.max,
		size:  cmp.Or(d.MaxSize, definition.MaxSize),
		count: cmp.Or(d.MaxFiles, 10_000),
		files: map[string]*file{},
	}
	return l
}
