package mirror

import (
	"context"
	"fmt"
	"time"

	"wasmxds/state"
)

// Lead implements state.Store. When a term begins, the copy has all writes of earlier
// terms.
func (s *Store) Lead(ctx context.Context, name string) (state.Term, error) {
	for {
		t, err := s.o.Remote.Lead(ctx, name)
		if err != nil {
			return nil, err
		}
		if in, err := s.In(ctx, t); err == nil {
			return term{t, in}, nil
		}
		t.End()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lead %s: %w", name, ctx.Err())
		}
	}
}

// In returns the store for writes in a term of the shared store. It returns once the copy
// has all writes of earlier terms, and what is pending was written or given up.
func (s *Store) In(ctx context.Context, t state.Term) (state.Store, error) {
	remote := t.Store()
	for {
		err := s.sync(ctx, remote)
		if err == nil {
			break
		}
		s.failed(err)
		select {
		case <-t.Done():
			return nil, state.ErrDeposed
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	led := way{apply: remote.Apply, term: true}
	return &fenced{state.Fenced{Store: s,
		Swap: func(ctx context.Context, op state.Op, was state.Revision) (state.Revision, error) {
			return s.swap(ctx, op, was, remote)
		},
		Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) { return s.apply(ctx, ops, led) }}, s, led}, nil
}

// fenced is the store in a term. What is noted in it after the term is given up when it is
// pushed, or when others are known to have continued.
type fenced struct {
	state.Fenced
	s   *Store
	led way
}

// Note implements state.Copied.
func (f *fenced) Note(ctx context.Context, ops []state.Op) uint64 { return f.s.Note(ctx, ops) }

// Push implements state.Copied.
func (f *fenced) Push(ctx context.Context, noted []state.Noted) error {
	return f.s.push(ctx, noted, f.led)
}

// term is a term of the shared store.
type term struct {
	state.Term
	in state.Store
}

// Store implements state.Term.
func (t term) Store() state.Store { return t.in }
