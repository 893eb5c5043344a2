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
	ours := slices.DeleteFunc(slices.Clone(ops), func(op state.Op) bool { return !s.shared(op.Key) }) // Push rejects them
	n, _, err := s.note(ctx, ours)
	if err != nil && ctx.Err() == nil {
		s.unnoted(err)
	}
	return n
}

// unnoted logs that the copy could not be written, because its disk may be full. The store
// continues nevertheless.
func (s *Store) unnoted(err error) {
	s.o.Log.Error("what changed is not in the copy of the state", "error", err)
}

// note writes ops to the copy, as pending, and returns the number of this note.
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

// notePending writes ops to the copy, as pending. The caller holds s.mu.
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

// owed returns the part of noted that is still to be written. If another caller in this
// process has noted something newer that is still pending, owed returns that instead. The
// caller holds s.pushing.
func (s *Store) owed(ctx context.Context, noted []state.Noted) ([]state.Noted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owed []state.Noted
	var again []state.Op
	for _, n := range noted {
		newest, pending, missed := s.noted[n.Key], s.marks[n.Key].pending, s.missed[n.Key]
		switch {
		case newest == n.Number:
			if !pending || missed { // given up meanwhile, or the disk was full
				again = append(again, n.Op)
			}
		case !pending || missed: // it has arrived, or whoever noted the newer one will push it
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

// copied returns an operation that writes an entry as it is in the copy.
func (s *Store) copied(ctx context.Context, key string) (state.Op, error) {
	e, err := s.o.Local.Get(ctx, key)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return state.Op{}, fmt.Errorf("read the local copy of the state in %s: %w", s.o.Name, err)
	}
	return state.Op{Key: key, Value: e.Value, Remove: err != nil}, nil
}

// sends remembers what the shared store may contain from now on. The caller holds s.mu.
func (s *Store) sends(owed []state.Noted) {
	for _, n := range owed {
		s.sent[n.Key] = hash(n.Value, !n.Remove)
	}
}

// there records that a part is in the shared store, at a revision. The disk learns this
// with the event.
func (s *Store) there(part []state.Noted, at state.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range part {
		m := mark{at: at}
		if n.Remove {
			m = mark{}
		}
		delete(s.sent, n.Key)
		if s.noted[n.Key] > n.Number { // something newer is still to be written
			m.pending = s.marks[n.Key].pending
			s.marks[n.Key] = m
			continue
		}
		delete(s.noted, n.Key)
		if s.missed[n.Key] {
			delete(s.missed, n.Key)
			s.stale() // the next comparison writes it to the copy
		}
		if m == (mark{}) {
			delete(s.marks, n.Key)
		} else {
			s.marks[n.Key] = m
		}
	}
}

// arrived records that the shared store has what the copy has. The caller holds s.mu.
func (s *Store) arrived(key string) {
	if !s.missed[key] {
		delete(s.noted, key)
		delete(s.sent, key)
	}
}

// sent contains hashes of earlier values of a pending entry, newest last, that the shared
// store may have received from here: they were pushed, and no answer came.
type sent string

// mostSent is how many are kept. Each took a push, and the time until it failed.
const mostSent = 8

// and adds a hash, unless it is already present.
func (s sent) and(one string) sent {
	if one == "" || s.has(one) {
		return s
	}
	all := append(strings.Fields(string(s)), one)
	return sent(strings.Join(all[max(0, len(all)-mostSent):], " "))
}

func (s sent) has(one string) bool { return slices.Contains(strings.Fields(string(s)), one) }

// hash identifies a value, or the absence of one.
func hash(value []byte, there bool) string {
	if !there {
		return "-"
	}
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:8])
}
