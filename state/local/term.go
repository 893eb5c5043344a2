package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"

	"wasmxds/state"
)

// term is a term of a leader. Only one process has the file open, so all candidates are in
// it.
type term struct {
	store  *Store
	name   string
	number uint64
	done   chan struct{}
	end    func()
}

func (t *term) Number() uint64        { return t.number }
func (t *term) Done() <-chan struct{} { return t.done }
func (t *term) End()                  { t.end() }

// Store implements state.Term.
func (t *term) Store() state.Store {
	return state.Fenced{Store: t.store,
		Swap: func(ctx context.Context, op state.Op, was state.Revision) (state.Revision, error) {
			return t.store.swap(ctx, op, was, t)
		},
		Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) { return t.store.apply(ctx, ops, t) }}
}

// Lead implements state.Store.
func (s *Store) Lead(ctx context.Context, name string) (state.Term, error) {
	for {
		s.mu.Lock()
		before := s.leads[name]
		if before == nil {
			defer s.mu.Unlock()
			return s.begin(ctx, name)
		}
		s.mu.Unlock()
		select {
		case <-before.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("lead %s: %w", name, ctx.Err())
		}
	}
}

// begin begins a term. The caller holds s.mu.
func (s *Store) begin(ctx context.Context, name string) (state.Term, error) {
	t := &term{store: s, name: name, done: make(chan struct{})}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(terms)
		t.number = 1
		if old := b.Get([]byte(name)); len(old) == 8 {
			t.number += binary.BigEndian.Uint64(old)
		}
		return b.Put([]byte(name), binary.BigEndian.AppendUint64(nil, t.number))
	})
	if err != nil {
		return nil, fmt.Errorf("lead %s: %w", name, err)
	}
	var stop func() bool
	t.end = sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.leads, name)
		s.mu.Unlock()
		stop()
		close(t.done)
	})
	s.leads[name] = t
	stop = context.AfterFunc(ctx, t.end)
	return t, nil
}
