package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"wasmxds/state"
	"wasmxds/state/local"
)

// gate is the connection of one process to a shared store, which is a file of the test. Its
// methods may be called concurrently.
type gate struct {
	*local.Store
	mu     sync.Mutex
	how    string        // see the scripts: hangs, late, deaf, away, gone; "": it works
	opened chan struct{} // closed when how changes
	late   []func()      // writes that the store does before the next one, or when it is back, even if the caller is gone
}

func newGate(shared *local.Store) *gate { return &gate{Store: shared, opened: make(chan struct{})} }

// answersWithin is the timeout of a call, as in state/etcd.
const answersWithin = 10 * time.Second

var errNoAnswer = errors.New("no answer within 10 s")

// set changes how the store behaves.
func (g *gate) set(how string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.how == how {
		return
	}
	g.how = how
	if how == "" {
		g.catchUp()
	}
	close(g.opened)
	g.opened = make(chan struct{})
}

// catchUp does the late writes. The caller holds g.mu.
func (g *gate) catchUp() {
	for _, write := range g.late {
		write()
	}
	g.late = nil
}

func (g *gate) is() (string, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.how, g.opened
}

// err returns why nothing can be read.
func (g *gate) err() error {
	if how, _ := g.is(); how == "away" || how == "gone" {
		return errAway
	}
	return nil
}

// pass does a write, or not, depending on how the store behaves.
func (g *gate) pass(ctx context.Context, write func(context.Context) (state.Revision, error)) (state.Revision, error) {
	end := time.After(answersWithin)
	for {
		how, opened := g.is()
		switch how {
		case "":
			return write(ctx)
		case "away", "gone":
			return 0, errAway
		case "deaf":
			g.mu.Lock()
			g.catchUp()
			g.mu.Unlock()
			if at, err := write(ctx); err != nil {
				return at, err
			}
		}
		select {
		case <-opened:
			if how != "deaf" {
				continue
			}
		case <-ctx.Done():
		case <-end:
		}
		if how == "late" {
			g.mu.Lock()
			g.late = append(g.late, func() { _, _ = write(context.Background()) }) // nobody waits for it
			g.mu.Unlock()
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return 0, errNoAnswer
	}
}

func (g *gate) ID(context.Context) (string, state.Revision, error) {
	if err := g.err(); err != nil {
		return "", 0, err
	}
	_, at, err := g.Store.List(context.Background(), "")
	return "1", at, err
}

func (g *gate) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := g.err(); err != nil {
		return state.Entry{}, err
	}
	return g.Store.Get(ctx, key)
}

func (g *gate) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	if err := g.err(); err != nil {
		return nil, 0, err
	}
	return g.Store.List(ctx, prefix)
}

func (g *gate) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return g.pass(ctx, func(ctx context.Context) (state.Revision, error) { return g.Store.Apply(ctx, ops) })
}

func (g *gate) ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error) {
	return g.pass(ctx, func(ctx context.Context) (state.Revision, error) {
		all, _, err := g.Store.List(ctx, prefix)
		for _, e := range all {
			if e.Revision > at {
				return 0, state.ErrConflict
			}
		}
		if err != nil {
			return 0, err
		}
		return g.Store.Apply(ctx, ops)
	})
}

func (g *gate) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		if err := g.err(); err != nil {
			yield(state.Event{}, err)
			return
		}
		for e, err := range g.Store.Watch(ctx, prefix, from) {
			if away := g.err(); away != nil {
				yield(state.Event{}, away)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (g *gate) Lead(ctx context.Context, name string) (state.Term, error) {
	for {
		how, opened := g.is()
		if how != "away" && how != "gone" {
			break
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t, err := g.Store.Lead(ctx, name)
	if err != nil {
		return nil, err
	}
	return gatedTerm{t, g}, nil
}

// gatedTerm is a term whose writes go through the gate. It does not notice its end.
type gatedTerm struct {
	state.Term
	g *gate
}

func (t gatedTerm) Done() <-chan struct{} { return nil }

func (t gatedTerm) Store() state.Store {
	return state.Fenced{Store: t.g, Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) {
		return t.g.pass(ctx, func(ctx context.Context) (state.Revision, error) { return t.Term.Store().Apply(ctx, ops) })
	}}
}

// brittle is a file of this machine that may be full, or that belongs to a killed process.
type brittle struct {
	*local.Store
	mu sync.Mutex
	no error
}

func (b *brittle) set(no error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.no = no
}

func (b *brittle) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.no != nil {
		return 0, fmt.Errorf("write the copy: %w", b.no)
	}
	return b.Store.Apply(ctx, ops)
}
