package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/state"
)

// sync compares the copy with the shared store. The copy takes over what is there. Pending
// entries that nobody else has written since are pushed; those of Options.Led only if term,
// the store of a term, is not nil.
func (s *Store) sync(ctx context.Context, term state.Store) error {
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.release()
	for taken := false; !taken; {
		id, _, err := s.o.Remote.ID(ctx)
		if err != nil {
			return err
		}
		before := s.heardOf()
		entries, at, err := s.o.Remote.List(ctx, "")
		if err != nil {
			return err
		}
		older := at < before // it was restored from a backup
		if taken, err = s.take(ctx, id, older, entries, at); err != nil {
			return err
		}
	}
	s.worked()
	return s.pushPending(ctx, term)
}

// heardOf returns the revision up to which the copy has all events.
func (s *Store) heardOf() state.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// take applies the content of the shared store to the copy. It returns false if the copy
// has already received something newer. Revisions of another store, or of one that is older
// than it was, mean nothing any more.
func (s *Store) take(ctx context.Context, id string, older bool, entries []state.Entry, at state.Revision) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := id == s.id && !older
	if same && at < s.at {
		return false, nil
	}
	ours, err := s.values(ctx)
	if err != nil {
		return false, err
	}
	c := comparison{ours: ours, theirs: map[string]state.Entry{}, marks: map[string]mark{}}
	for _, e := range entries {
		if s.shared(e.Key) {
			c.theirs[e.Key] = e
		}
	}
	for key := range ours { // an entry without a mark was given up
		c.marks[key] = mark{pending: !same} // it is from before there was a shared store, or from one that was lost
	}
	if same {
		maps.Copy(c.marks, s.marks)
	}
	ops, marks := c.outcome(s)
	if !same {
		for key := range s.saved {
			if _, known := marks[key]; !known {
				marks[key] = mark{}
			}
		}
		ops = append(ops, state.Op{Key: idKey, Value: []byte(id)})
	}
	if _, err := s.write(ctx, ops, marks); err != nil {
		return false, err
	}
	s.id, s.at, s.synced = id, at, true
	return true, nil
}

// comparison compares the copy with the shared store.
type comparison struct {
	ours   map[string][]byte
	theirs map[string]state.Entry
	marks  map[string]mark
}

// outcome returns the operations and marks that the copy gets.
func (c *comparison) outcome(s *Store) ([]state.Op, map[string]mark) {
	keys := map[string]bool{}
	for key := range c.marks {
		keys[key] = true
	}
	for key := range c.theirs {
		keys[key] = true
	}
	lost := map[string]bool{} // of Whole: others have continued
	for key := range keys {
		if p := s.wholeOf(key); p != "" && !c.current(key) {
			lost[p] = true
		}
	}
	var ops []state.Op
	marks := map[string]mark{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		m := c.marks[key]
		theirs, there := c.theirs[key]
		same := c.same(key)
		if m.pending && !same {
			if c.current(key) && !lost[s.wholeOf(key)] {
				m.at = theirs.Revision
				marks[key] = m
				continue
			}
			s.o.Log.Warn("what this process, or the one before it, has written while the state was away is given up: others have changed it since", "key", key)
		}
		if !same {
			ops = append(ops, state.Op{Key: key, Value: theirs.Value, Remove: !there})
		} else if m.pending {
			s.arrived(key)
		}
		marks[key] = mark{at: theirs.Revision}
	}
	return ops, marks
}

// same reports whether the copy and the shared store have the same value of a key.
func (c *comparison) same(key string) bool {
	theirs, there := c.theirs[key]
	ours, have := c.ours[key]
	return there == have && bytes.Equal(theirs.Value, ours)
}

// current reports whether nobody else has written an entry since it was last heard of.
func (c *comparison) current(key string) bool {
	m := c.marks[key]
	if m.pending && c.same(key) {
		return true // it was written, and the answer was lost
	}
	theirs, there := c.theirs[key]
	if m.pending && m.sent.has(hash(theirs.Value, there)) {
		return true // it was pending earlier and was written, and the answer was lost
	}
	return theirs.Revision <= m.at && there == (m.at > 0)
}

// pushPending writes what is pending to the shared store; entries of Options.Led by term,
// the store of a term, since the beginning of which nobody else can have written them. The
// caller holds s.pushing.
func (s *Store) pushPending(ctx context.Context, term state.Store) error {
	owed, at, err := s.pending(ctx, term != nil)
	if err != nil {
		return err
	}
	for _, part := range s.parts(owed) {
		by := s.unled()
		if whole := s.wholeOf(part[0].Key); s.led(part[0].Key) {
			by = way{apply: term.Apply, term: true}
		} else if whole != "" {
			by.apply = func(ctx context.Context, ops []state.Op) (state.Revision, error) {
				return s.o.Remote.ApplySince(ctx, ops, whole, at)
			}
		}
		err := s.send(ctx, part, by)
		refused, is := errors.AsType[*state.RefusedError](err)
		switch {
		case is:
			s.o.Log.Error("what changed is kept on this machine alone", "key", refused.Key, "error", refused.Err)
			s.stale() // the others
		case err != nil && !errors.Is(err, state.ErrConflict):
			return fmt.Errorf("%s: %w", s.o.Name, err)
		}
	}
	return nil
}

// pending returns the pending entries, and the revision up to which they are known to be
// free of conflicts.
func (s *Store) pending(ctx context.Context, inTerm bool) ([]state.Noted, state.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owed []state.Noted
	for key, m := range s.marks {
		if !m.pending || s.refused[key] || s.missed[key] || !inTerm && s.led(key) {
			continue
		}
		op, err := s.copied(ctx, key)
		if err != nil {
			return nil, 0, err
		}
		owed = append(owed, state.Noted{Op: op, Number: s.noted[key]})
	}
	slices.SortFunc(owed, func(a, b state.Noted) int { return strings.Compare(a.Key, b.Key) })
	s.sends(owed)
	return owed, s.at, nil
}
