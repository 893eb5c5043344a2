package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/state"
)

// apply writes ops to the copy, and then to the shared store, by to.
func (s *Store) apply(ctx context.Context, ops []state.Op, to func(context.Context, []state.Op) (state.Revision, error)) (state.Revision, error) {
	for _, op := range ops {
		if !s.shared(op.Key) {
			return 0, &state.RefusedError{Key: op.Key, Err: fmt.Errorf("it is none of what is in %s", s.o.Name)}
		}
	}
	// First the copy, whoever waits for the shared store: this process may be killed.
	n, at, err := s.note(ctx, ops)
	if err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	s.pushing.Lock()
	defer s.pushing.Unlock()
	if err != nil { // a full disk is no reason not to go on
		s.o.Log.Error("what changed is not in the copy of the state", "error", err)
		defer s.stale()
	} else if ops, err = s.owed(ctx, ops, n); err != nil {
		return 0, err
	}
	for _, part := range s.parts(ops) {
		if err := s.push(ctx, part, to); err != nil {
			return 0, fmt.Errorf("it is on this machine, and owed to %s: %w", s.o.Name, err)
		}
	}
	return at, nil
}

// note writes ops to the copy, as pending, and numbers that.
func (s *Store) note(ctx context.Context, ops []state.Op) (n uint64, at state.Revision, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes++
	for _, op := range ops {
		s.noted[op.Key] = s.notes
	}
	at, err = s.notePending(ctx, ops)
	return s.notes, at, err
}

// notePending writes ops to the copy. The caller holds s.mu.
func (s *Store) notePending(ctx context.Context, ops []state.Op) (state.Revision, error) {
	marks := make(map[string]mark, len(ops))
	for _, op := range ops {
		marks[op.Key] = mark{s.marks[op.Key].at, true}
		delete(s.refused, op.Key)
	}
	return s.write(ctx, ops, marks)
}

// owed gives what is to be written now of what was noted as number n. Of what others of
// this process have noted since it is that, unless it was written. The caller holds
// s.pushing.
func (s *Store) owed(ctx context.Context, ops []state.Op, n uint64) ([]state.Op, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owed, again []state.Op
	for _, op := range ops {
		pending := s.marks[op.Key].pending
		if s.noted[op.Key] == n {
			delete(s.noted, op.Key)
			if !pending { // it was given up meanwhile
				again = append(again, op)
			}
			owed = append(owed, op)
			continue
		}
		if !pending {
			continue
		}
		now, err := s.copied(ctx, op.Key)
		if err != nil {
			return nil, err
		}
		owed = append(owed, now)
	}
	if len(again) > 0 {
		if _, err := s.notePending(ctx, again); err != nil {
			return nil, err
		}
	}
	return owed, nil
}

// copied gives what writes an entry elsewhere as the copy has it.
func (s *Store) copied(ctx context.Context, key string) (state.Op, error) {
	e, err := s.o.Local.Get(ctx, key)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return state.Op{}, fmt.Errorf("read the copy of what is in %s: %w", s.o.Name, err)
	}
	return state.Op{Key: key, Value: e.Value, Remove: err != nil}, nil
}

// push writes a part of what is noted to the shared store. The caller holds
// s.pushing.
func (s *Store) push(ctx context.Context, part []state.Op, to func(context.Context, []state.Op) (state.Revision, error)) error {
	s.mu.Lock()
	synced := s.synced
	s.mu.Unlock()
	if !synced {
		return errUnsynced
	}
	at, err := to(ctx, part)
	refused, is := errors.AsType[*state.RefusedError](err)
	switch {
	case err == nil:
		s.worked()
		s.there(part, at)
	case errors.Is(err, state.ErrDeposed), errors.Is(err, state.ErrConflict):
		s.revert(part)
	case errors.Is(err, errUnled):
	case is:
		s.mu.Lock()
		s.refused[refused.Key] = true
		s.mu.Unlock()
	case ctx.Err() == nil:
		s.failed(err)
	}
	return err
}

// parts divides ops where they need not be written together: a shared store may
// find it hard to write much at once.
func (s *Store) parts(ops []state.Op) [][]state.Op {
	const most = 100
	whole := map[string][]state.Op{}
	var parts [][]state.Op
	var part []state.Op
	for _, op := range ops {
		if p := s.wholeOf(op.Key); p != "" {
			whole[p] = append(whole[p], op)
			continue
		}
		if part = append(part, op); len(part) == most {
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

// wholeOf is which of Options.Whole a key is of; "": none.
func (s *Store) wholeOf(key string) string {
	i := slices.IndexFunc(s.o.Whole, func(p string) bool { return strings.HasPrefix(key, p) })
	if i < 0 {
		return ""
	}
	return s.o.Whole[i]
}

// there notes that ops are in the shared store, at a revision. The disk learns it
// when that is heard of.
func (s *Store) there(ops []state.Op, at state.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		if op.Remove {
			delete(s.marks, op.Key)
		} else {
			s.marks[op.Key] = mark{at: at}
		}
	}
}

// revert gives ops up: others have written what is theirs in their place, which the
// copy gets when it is compared.
func (s *Store) revert(ops []state.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		maps.Copy(s.marks, s.givenUp(op.Key))
	}
}

// GiveUp gives up what is pending below a prefix: others have gone on without it.
func (s *Store) GiveUp(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.marks {
		if m.pending && strings.HasPrefix(key, prefix) {
			s.marks[key] = mark{at: m.at}
			s.stale()
		}
	}
}

// givenUp are the marks of an entry, and of all that it only makes sense together with,
// when what is pending of them is given up. The caller holds s.mu.
func (s *Store) givenUp(key string) map[string]mark {
	s.stale()
	marks := map[string]mark{key: {at: s.marks[key].at}}
	if whole := s.wholeOf(key); whole != "" {
		for k, m := range s.marks {
			if m.pending && strings.HasPrefix(k, whole) {
				marks[k] = mark{at: m.at}
			}
		}
	}
	return marks
}

// owes says whether anything below a prefix is pending. The caller holds s.mu.
func (s *Store) owes(prefix string) bool {
	for key, m := range s.marks {
		if m.pending && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// stale has the copy compared again.
func (s *Store) stale() {
	select {
	case s.changed <- struct{}{}:
	default: // it is to be already
	}
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

// swap writes an entry that is at revision was of the copy, to the shared store first.
func (s *Store) swap(ctx context.Context, op state.Op, was state.Revision, to state.Store) (state.Revision, error) {
	s.pushing.Lock()
	defer s.pushing.Unlock()
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
