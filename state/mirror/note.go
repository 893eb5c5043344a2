package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"wasmxds/state"
)

// Note implements state.Copied.
func (s *Store) Note(ctx context.Context, ops []state.Op) uint64 {
	ours := slices.DeleteFunc(slices.Clone(ops), func(op state.Op) bool { return !s.shared(op.Key) }) // Push refuses them
	n, _, err := s.note(ctx, ours)
	if err != nil && ctx.Err() == nil {
		s.unnoted(err)
	}
	return n
}

// unnoted: a full disk is no reason not to go on.
func (s *Store) unnoted(err error) {
	s.o.Log.Error("what changed is not in the copy of the state", "error", err)
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
		m := s.marks[op.Key]
		marks[op.Key] = mark{m.at, true, m.sent.and(s.sent[op.Key])}
		delete(s.refused, op.Key)
	}
	at, err := s.write(ctx, ops, marks)
	for _, op := range ops {
		if delete(s.missed, op.Key); err != nil {
			s.missed[op.Key] = true
		}
	}
	return at, err
}

// owed gives what is to be written now of what was noted. Of what others of this process
// have noted since it is that, unless it was written. The caller holds s.pushing.
func (s *Store) owed(ctx context.Context, noted []state.Noted) ([]state.Noted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owed []state.Noted
	var again []state.Op
	for _, n := range noted {
		newest, pending, missed := s.noted[n.Key], s.marks[n.Key].pending, s.missed[n.Key]
		switch {
		case newest == n.Number:
			if !pending || missed { // it was given up meanwhile, or the disk was full
				again = append(again, n.Op)
			}
		case !pending || missed: // it is there, or who has noted the newer will push it
			continue
		default:
			op, err := s.copied(ctx, n.Key)
			if err != nil {
				return nil, err
			}
			n = state.Noted{Op: op, Number: newest}
		}
		owed = append(owed, n)
	}
	if len(again) > 0 {
		if _, err := s.notePending(ctx, again); err != nil {
			s.unnoted(err)
		}
	}
	s.sends(owed)
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

// sends remembers what the shared store may have from now on. The caller holds s.mu.
func (s *Store) sends(owed []state.Noted) {
	for _, n := range owed {
		s.sent[n.Key] = hash(n.Value, !n.Remove)
	}
}

// there notes that a part is in the shared store, at a revision. The disk learns it
// when that is heard of.
func (s *Store) there(part []state.Noted, at state.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range part {
		m := mark{at: at}
		if n.Remove {
			m = mark{}
		}
		delete(s.sent, n.Key)
		if s.noted[n.Key] > n.Number { // something newer is owed
			m.pending = s.marks[n.Key].pending
			s.marks[n.Key] = m
			continue
		}
		delete(s.noted, n.Key)
		if s.missed[n.Key] {
			delete(s.missed, n.Key)
			s.stale() // the copy gets it by itself
		}
		if m == (mark{}) {
			delete(s.marks, n.Key)
		} else {
			s.marks[n.Key] = m
		}
	}
}

// arrived notes that the shared store is seen to have what the copy has. The caller
// holds s.mu.
func (s *Store) arrived(key string) {
	if !s.missed[key] {
		delete(s.noted, key)
		delete(s.sent, key)
	}
}

// sent are hashes of what an entry was before it became what is pending now, newest last,
// as far as the shared store may have got it from here: it was pushed, and there was
// no answer.
type sent string

// mostSent is how many are remembered. Each took a push, and the time until it failed.
const mostSent = 8

// and adds one, if it is none of them.
func (s sent) and(one string) sent {
	if one == "" || s.has(one) {
		return s
	}
	all := append(strings.Fields(string(s)), one)
	return sent(strings.Join(all[max(0, len(all)-mostSent):], " "))
}

func (s sent) has(one string) bool { return slices.Contains(strings.Fields(string(s)), one) }

// hash stands for a value, or for none.
func hash(value []byte, there bool) string {
	if !there {
		return "-"
	}
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:8])
}
