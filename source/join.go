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

// Source is a source with its name.
type Source struct {
	Name string // as in Keys and Batches
	// Base is the folder that document names are relative to. It is used for
	// documents of which only the last good content is known. "": none.
	Base string
	// Object returns the name for messages and the scope of a document that is
	// an object of a Kubernetes cluster, in JSON. If it is nil, documents are
	// files, or similar.
	Object func(name string) (called string, scope definition.Scope)
	Discoverer
}

// Join combines the documents of all sources. Sources is required; all other
// fields have defaults. It must not be changed after Run is called.
type Join struct {
	Sources   []Source
	RemoveAll bool          // allow removing any number of definitions at once; otherwise, a change that removes more than half of at least four is held back
	State     *state.Writer // stores the last good content of each document; nil: it is not stored
	Log       *slog.Logger  // default slog.Default()
	// Objects is called after each batch with the state of all documents that
	// are objects, by key. It may be nil.
	Objects func(map[Key]Object)

	once  sync.Once
	asked chan release
}

// Run emits the definitions of all sources, and again whenever definitions or
// problems change, until ctx ends. Then it returns nil. It calls emit from one
// goroutine, and receives no batch until emit returns. It returns an error if a
// source is not set up correctly.
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
		files := -1 // as last emitted; -1: none so far
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
