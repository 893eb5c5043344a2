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

// Store implements state.Term.
func (t term) Store() state.Store {
	remote := t.Term.Store()
	return state.Fenced{Store: t.store,
		Swap: func(ctx context.Context, op state.Op, was state.Revision) (state.Revision, error) {
			return t.store.swap(ctx, op, was, remote)
		},
		Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) {
			return t.store.apply(ctx, ops, remote.Apply)
		}}
}
