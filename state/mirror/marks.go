package mirror

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"wasmxds/state"
)

// Entries beside the copy that describe it.
const (
	idKey    = ".mirror/id"    // the ID of the shared store
	markKeys = ".mirror/at/"   // KEY: mark
	sentKeys = ".mirror/sent/" // KEY: its sent; versions from before it existed ignore them
)

// mark is what is known about an entry of the shared store, besides its value, which is in
// the copy.
type mark struct {
	at      state.Revision // the shared store has nothing newer up to this revision; 0: it has no such entry
	pending bool           // the copy has another value, which is still to be written
	sent    sent
}

func (m mark) op(key string) state.Op {
	if m == (mark{}) {
		return state.Op{Key: markKeys + key, Remove: true}
	}
	b := strconv.AppendUint(nil, uint64(m.at), 10)
	if m.pending {
		b = append(b, " pending"...)
	}
	return state.Op{Key: markKeys + key, Value: b}
}

func parseMark(b []byte) (mark, error) {
	number, pending := bytes.CutSuffix(b, []byte(" pending"))
	at, err := strconv.ParseUint(string(number), 10, 64)
	return mark{at: state.Revision(at), pending: pending}, err
}

// load reads the entries that describe the copy.
func (s *Store) load(ctx context.Context) error {
	entries, _, err := s.o.Local.List(ctx, ".mirror/")
	if err != nil {
		return err
	}
	for _, e := range entries { // markKeys come before sentKeys
		if e.Key == idKey {
			s.id = string(e.Value)
		}
		if key, is := strings.CutPrefix(e.Key, sentKeys); is {
			if m := s.marks[key]; m.pending {
				m.sent = sent(e.Value)
				s.marks[key], s.saved[key] = m, m
			}
		}
		key, is := strings.CutPrefix(e.Key, markKeys)
		if !is {
			continue
		}
		m, err := parseMark(e.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		if s.marks[key], s.saved[key] = m, m; !m.pending {
			continue
		}
		op, err := s.copied(ctx, key)
		if err != nil {
			return err
		}
		s.sends([]state.Noted{{Op: op}}) // the previous process may have pushed it
	}
	return nil
}

// write writes ops and marks to the copy, and remembers the marks. The caller holds s.mu.
func (s *Store) write(ctx context.Context, ops []state.Op, marks map[string]mark) (state.Revision, error) {
	var all []state.Op
	for key, m := range marks {
		before := s.saved[key]
		if m != before {
			all = append(all, m.op(key))
		}
		if m.sent != before.sent {
			all = append(all, state.Op{Key: sentKeys + key, Value: []byte(m.sent), Remove: m.sent == ""})
		}
	}
	at, err := s.o.Local.Apply(ctx, append(all, ops...)) // the revision is that of the last op
	if err != nil {
		return 0, fmt.Errorf("write the local copy of the state in %s: %w", s.o.Name, err)
	}
	for key, m := range marks {
		if m == (mark{}) {
			delete(s.marks, key)
			delete(s.saved, key)
		} else {
			s.marks[key], s.saved[key] = m, m
		}
	}
	return at, nil
}

// values returns the shared entries as they are in the copy.
func (s *Store) values(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, p := range s.o.Shared {
		entries, _, err := s.o.Local.List(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if s.shared(e.Key) {
				all[e.Key] = e.Value
			}
		}
	}
	return all, nil
}
