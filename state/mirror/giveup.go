package mirror

import (
	"maps"
	"strings"

	"wasmxds/state"
)

// revert gives a part up: others have written their own content instead, which the copy
// gets when it is compared.
func (s *Store) revert(part []state.Noted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range part {
		delete(s.sent, n.Key)
		maps.Copy(s.marks, s.givenUp(n.Key))
	}
}

// GiveUp gives up what is pending under a prefix, because others have continued without it.
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

// givenUp returns the marks of an entry, and of all entries that belong with it, as they
// are once what is pending of them is given up. The caller holds s.mu.
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

// owes reports whether anything under a prefix is pending. The caller holds s.mu.
func (s *Store) owes(prefix string) bool {
	for key, m := range s.marks {
		if m.pending && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// stale requests that the copy is compared again.
func (s *Store) stale() {
	select {
	case s.changed <- struct{}{}:
	default: // already requested
	}
}
