package source

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/definition"
	"wasmxds/state"
)

// Source is a source by its name.
type Source struct {
	Name string // as its Keys and Batches have it
	// Base is the folder that its documents' names are below, for those of which
	// only last good content is known; "": it has none.
	Base string
	// Object says what a document is that is an object of a Kubernetes cluster,
	// written as JSON: what people call it, and what it has authority over. Nil:
	// documents are files, or the like.
	Object func(name string) (called string, scope definition.Scope)
	Discoverer
}

// Join takes what sources send as one whole. Set Sources; all else has a
// default. It must not be changed once Run is called.
type Join struct {
	Sources   []Source
	RemoveAll bool          // take away any number of definitions at once; else a change that removes more than half of four or more is held back
	State     *state.Writer // keeps the last good content of each document; nil: it is not kept
	Log       *slog.Logger  // default slog.Default()
	// Objects is told what became of those that documents are, by key, whenever a
	// batch has been taken in; nil: nobody is.
	Objects func(map[Key]Object)

	once  sync.Once
	asked chan release
}

// Run emits what all sources have, and again whenever definitions or problems
// are others than before, until ctx ends; then it returns nil. It calls emit
// from one goroutine, and takes nothing more until emit returns. An error says
// that a source is not set up right.
func (j *Join) Run(ctx context.Context, emit func(Update)) error {
	log := cmp.Or(j.Log, slog.Default())
	up := make(chan Batch)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range j.Sources {
		g.Go(func() error { return s.Run(ctx, up) })
	}
	g.Go(func() error {
		t := newTable(j.Sources, newLastGood(j.State, log), log)
		t.removeAll = j.RemoveAll
		files := -1 // as emitted; -1: nothing was
		tell := func(changed, began time.Time) {
			files = t.present()
			now := time.Now()
			emit(Update{Set: t.set, Problems: t.problems, Changed: orNow(changed, now), Began: orNow(began, now),
				Files: files, Held: t.held, HeldID: t.heldID})
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case r := <-j.releases():
				err := t.release(r.id)
				if err == nil {
					tell(time.Time{}, time.Time{})
				}
				r.done <- err
			case b := <-up:
				if !t.take(b) {
					continue
				}
				if t.join() || t.present() != files {
					tell(b.Changed, b.Began)
				}
			}
			if j.Objects != nil {
				j.Objects(t.objects())
			}
		}
	})
	return g.Wait()
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}
