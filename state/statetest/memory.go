package statetest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"wasmxds/state"
)

// Memory is as much of a store as a [state.Writer] needs, in memory, so that tests can use
// it with fake time.
type Memory struct {
	state.Store // the other methods are not needed

	mu     sync.Mutex
	values map[string][]byte
	err    error
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{values: map[string][]byte{}} }

// Fail makes all later calls fail with err, as if the store were unavailable. If err is
// nil, they succeed again.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Copy returns another Memory with the same content.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{values: maps.Clone(m.values)}
}

// List implements state.Store. It returns no revision, because nobody watches.
func (m *Memory) List(_ context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, 0, m.err
	}
	var all []state.Entry
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, state.Entry{Key: key, Value: m.values[key]})
		}
	}
	return all, 0, nil
}

// Apply implements state.Store.
func (m *Memory) Apply(_ context.Context, ops []state.Op) (state.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	for _, op := range ops {
		if op.Remove {
			delete(m.values, op.Key)
		} else {
			m.values[op.Key] = op.Value
		}
	}
	return 0, nil
}
