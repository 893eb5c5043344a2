package kube

import (
	"context"
	"errors"
	"sync"

	"wasmxds/state"
)

// term is a term of a leader: it begins with a Lease, and a head with its number. A write
// in the term succeeds only while the head still has that number.
type term struct {
	store   *Store
	name    string
	number  state.Revision
	lease   *lease
	done    context.Context
	lost    func() // ends the term
	running sync.WaitGroup
}

func (t *term) Number() uint64        { return uint64(t.number) }
func (t *term) Done() <-chan struct{} { return t.done.Done() }

// Store implements state.Term.
func (t *term) Store() state.Store {
	return state.Fenced{Store: t.store,
		Swap: func(ctx context.Context, op state.Op, was state.Revision) (state.Revision, error) {
			return t.store.swap(ctx, op, was, t)
		},
		Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) {
			return t.store.apply(ctx, ops, t, nil)
		}}
}

// End implements state.Term. It returns when others may lead, or when the API server does
// not answer.
func (t *term) End() {
	t.lost()
	t.running.Wait()
}

// lasts returns state.ErrDeposed if the term is over, judged by the head that is to be
// replaced.
func (t *term) lasts(h *head) error {
	if t.lease.over() || h.Terms[t.name] != t.number {
		t.lost()
	}
	if t.done.Err() != nil {
		return state.ErrDeposed
	}
	return nil
}

// Lead implements state.Store. It also waits while the API server is unavailable.
func (s *Store) Lead(ctx context.Context, name string) (state.Term, error) {
	return s.retry().Lead(ctx, name, s.lead)
}

var errLate = errors.New("the lease was over before the term had begun")

// lead waits for the Lease and begins a term.
func (s *Store) lead(ctx context.Context, name string) (state.Term, error) {
	l := newLease(s, name)
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	done, lost := context.WithCancel(ctx)
	t := &term{store: s, name: name, lease: l, done: done, lost: lost}
	t.running.Go(func() {
		defer l.giveBack()
		defer lost()
		l.keep(done)
	})
	var err error
	t.number, err = s.commit(done, change{leads: name, when: func(*head) error {
		if l.over() {
			return errLate
		}
		return nil
	}})
	if err != nil {
		t.End()
		return nil, err
	}
	s.mu.Lock()
	s.led = true
	s.mu.Unlock()
	return t, nil
}
