package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"wasmxds/state"
)

// way describes how to write to the shared store.
type way struct {
	apply func(context.Context, []state.Op) (state.Revision, error)
	term  bool // in a term, as Options.Led requires
}

// apply writes ops to the copy, and then to the shared store.
func (s *Store) apply(ctx context.Context, ops []state.Op, by way) (state.Revision, error) {
	if err := s.foreign(ops); err != nil {
		return 0, err
	}
	// The copy comes first, even if others are waiting for the shared store: this process
	// may be killed.
	n, at, err := s.note(ctx, ops)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		s.unnoted(err)
	}
	noted := make([]state.Noted, len(ops))
	for i, op := range ops {
		noted[i] = state.Noted{Op: op, Number: n}
	}
	if err := s.push(ctx, noted, by); err != nil {
		return 0, err
	}
	return at, nil
}

// foreign returns a *state.RefusedError for an entry that does not belong in the shared
// store.
func (s *Store) foreign(ops []state.Op) error {
	for _, op := range ops {
		if !s.shared(op.Key) {
			return &state.RefusedError{Key: op.Key, Err: fmt.Errorf("it is not part of the state in %s", s.o.Name)}
		}
	}
	return nil
}

// push writes those of noted to the shared store that are still to be written.
func (s *Store) push(ctx context.Context, noted []state.Noted, by way) error {
	if err := s.foreign(bare(noted)); err != nil {
		return err
	}
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.release()
	owed, err := s.owed(ctx, noted)
	if err != nil {
		return err
	}
	for _, part := range s.parts(owed) {
		if err := s.send(ctx, part, by); err != nil {
			return fmt.Errorf("it is saved on this machine, but not in %s yet: %w", s.o.Name, err)
		}
	}
	return nil
}

// hold waits until nobody else is writing to the shared store.
func (s *Store) hold(ctx context.Context) error {
	select {
	case s.pushing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) release() { <-s.pushing }

// bare returns the operations of noted, without their numbers.
func bare(noted []state.Noted) []state.Op {
	ops := make([]state.Op, len(noted))
	for i, n := range noted {
		ops[i] = n.Op
	}
	return ops
}

// send writes one part to the shared store. The caller holds s.pushing.
func (s *Store) send(ctx context.Context, part []state.Noted, by way) error {
	if !by.term && s.led(part[0].Key) {
		return errUnled
	}
	s.mu.Lock()
	synced := s.synced
	s.mu.Unlock()
	if !synced {
		return errUnsynced
	}
	at, err := by.apply(ctx, bare(part))
	refused, is := errors.AsType[*state.RefusedError](err)
	switch {
	case err == nil:
		s.worked()
		s.there(part, at)
	case errors.Is(err, state.ErrDeposed), errors.Is(err, state.ErrConflict):
		s.revert(part)
	case is:
		s.mu.Lock()
		s.refused[refused.Key] = true
		s.mu.Unlock()
	case ctx.Err() == nil:
		s.failed(err)
	}
	return err
}

// parts divides the entries to be written where they need not be written together, because
// a shared store may have difficulty with large batches.
func (s *Store) parts(owed []state.Noted) [][]state.Noted {
	const most = 100
	whole := map[string][]state.Noted{}
	var parts [][]state.Noted
	var part []state.Noted
	for _, n := range owed {
		if p := s.wholeOf(n.Key); p != "" {
			whole[p] = append(whole[p], n)
			continue
		}
		if part = append(part, n); len(part) == most {
			parts, part = append(parts, part), nil
		}
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	for _, p := range s.o.Whole {
		if len(whole[p]) > 0 {
			parts = append(parts, whole[p])
		}
	}
	return parts
}

// wholeOf returns the prefix of Options.Whole that a key belongs to, or "".
func (s *Store) wholeOf(key string) string {
	i := slices.IndexFunc(s.o.Whole, func(p string) bool { return strings.HasPrefix(key, p) })
	if i < 0 {
		return ""
	}
	return s.o.Whole[i]
}

// Put implements state.Store. Revisions are those of the copy.
func (s *Store) Put(ctx context.Context, key string, value []byte, was state.Revision) (state.Revision, error) {
	return s.swap(ctx, state.Op{Key: key, Value: value}, was, s.o.Remote)
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string, was state.Revision) error {
	_, err := s.swap(ctx, state.Op{Key: key, Remove: true}, was, s.o.Remote)
	return err
}

// swap writes an entry that is at revision was in the copy, to the shared store first.
func (s *Store) swap(ctx context.Context, op state.Op, was state.Revision, to state.Store) (state.Revision, error) {
	if err := s.hold(ctx); err != nil {
		return 0, err
	}
	defer s.release()
	s.mu.Lock()
	have, err := s.o.Local.Get(ctx, op.Key)
	m, synced := s.marks[op.Key], s.synced
	s.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return 0, err
	case !synced:
		return 0, fmt.Errorf("%s: %w", s.o.Name, errUnsynced)
	case have.Revision != was || m.pending:
		return 0, state.ErrConflict
	}
	now, err := to.Get(ctx, op.Key)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return 0, err
	}
	if now.Revision > m.at || now.Revision == 0 && m.at > 0 {
		return 0, state.ErrConflict
	}
	next := mark{}
	if op.Remove {
		err = to.Delete(ctx, op.Key, now.Revision)
	} else {
		next.at, err = to.Put(ctx, op.Key, op.Value, now.Revision)
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(ctx, []state.Op{op}, map[string]mark{op.Key: next})
}
