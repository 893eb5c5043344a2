package mirror

import (
	"context"
	"fmt"
	"time"

	"wasmxds/state"
)

// Lead implements state.Store. When a term begins the copy has all that was written
// in the terms before.
func (s *Store) Lead(ctx context.Context, name string) (state.Term, error) {
	for {
		t, err := s.o.Remote.Lead(ctx, name)
		if err != nil {
			return nil, err
		}
		if s.settle(ctx, t) {
			return term{t, s}, nil
		}
		t.End()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lead %s: %w", name, ctx.Err())
		}
	}
}

// settle compares the copy, and says whether the term is not over meanwhile.
func (s *Store) settle(ctx context.Context, t state.Term) bool {
	for {
		err := s.sync(ctx)
		if err == nil {
			return true
		}
		s.failed(err)
		select {
		case <-t.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}

// term is a term of the shared store.
type term struct {
	state.Term
	store *Store
}

func (t term) Store() state.Store { return fenced{t.store, t.Term.Store()} }

// fenced is the store in a term.
type fenced struct {
	*Store
	remote state.Store
}

func (f fenced) Put(ctx context.Context, key string, value []byte, was state.Revision) (state.Revision, error) {
	return f.swap(ctx, state.Op{Key: key, Value: value}, was, f.remote)
}

func (f fenced) Delete(ctx context.Context, key string, was state.Revision) error {
	_, err := f.swap(ctx, state.Op{Key: key, Remove: true}, was, f.remote)
	return err
}

func (f fenced) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return f.apply(ctx, ops, f.remote.Apply)
}
