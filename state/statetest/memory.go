package statetest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"wasmxds/state"
)

// Memory is as much of a store as a [state.Writer] needs, in memory: time can stand
// still while it is asked.
type Memory struct {
	state.Store // of which no more is needed

	mu     sync.Mutex
	values map[string][]byte
	err    error
}

// NewMemory makes one that is empty.
func NewMemory() *Memory { return &Memory{values: map[string][]byte{}} }

// Fail has all fail that it is asked, as if it were away; nil: no more.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Copy is another with the same in it.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{values: maps.Clone(m.values)}
}

// List gives what is at keys that begin with prefix. No revision is told, as nobody
// watches.
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

// Apply writes.
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
