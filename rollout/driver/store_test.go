package driver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"wasmxds/state"
)

// store is a state.Store that may be away. It is in memory, so that time can stand
// still while it is asked.
type store struct {
	state.Store // of which no more is needed
	mu          sync.Mutex
	away        bool
	values      map[string][]byte
}

func newStore() *store { return &store{values: map[string][]byte{}} }

var errAway = errors.New("connection refused")

func (s *store) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *store) List(_ context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, 0, errAway
	}
	var all []state.Entry
	for key, value := range s.values {
		if strings.HasPrefix(key, prefix) {
			all = append(all, state.Entry{Key: key, Value: value})
		}
	}
	slices.SortFunc(all, func(a, b state.Entry) int { return strings.Compare(a.Key, b.Key) })
	return all, 0, nil
}

func (s *store) Apply(_ context.Context, ops []state.Op) (state.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return 0, errAway
	}
	for _, op := range ops {
		if op.Remove {
			delete(s.values, op.Key)
			continue
		}
		s.values[op.Key] = op.Value
	}
	return 0, nil
}
