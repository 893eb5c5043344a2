// Package dir finds definitions in a directory of files that people and tools
// write to as they please.
//
// Start with [Directory], a [source.Discoverer]: Run watches it. It promises:
//
//   - A directory that can't be read is unknown, not empty; so is any folder in
//     it.
//   - What is sent is never half of a change made by renaming, by swapping
//     links (Kubernetes' ConfigMaps), or within [Directory.Quiet].
//   - A file is sent when its content is other than before, and never while it
//     is being written.
//
// Events of the operating system are hints only: at each, the tree is walked,
// and what looks other than before is read. So lost events and overflows cost
// time but no truth, and where there are no events, polling does as well.
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

	Log *slog.Logger // default slog.Default()

	once   sync.Once
	rescan chan chan<- struct{}

	open func() (*notifier, error) // for tests
}

// Rescan has every file read again, however unchanged it looks, and returns
// when what came of it has been taken in, or ctx ends. It may be called at any
// time, but not by who takes it in.
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

// Run sends what is in the directory, and again what is other than before,
// until ctx ends; then it returns nil. An error says that the Directory is not
// set up right; nothing was sent then.
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

// loop puts the defaults in.
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
