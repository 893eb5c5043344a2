// Package statetest provides the state of a process for tests, in a data directory or in
// memory, and the tests that all stores share. Start with [Conform].
package statetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"wasmxds/state"
	"wasmxds/state/local"
)

// Process is the state of a running process.
type Process struct {
	*state.Writer
	Store *local.Store
	// End ends the process, after it has written what is pending.
	End func()
}

// Start starts a process with its state in dir.
func Start(t testing.TB, dir string) *Process {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := local.Open(filepath.Join(dir, "state.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{Writer: state.NewWriter(store, log), Store: store}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	p.End = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.End)
	return p
}

// Written returns the values that have been written at keys that begin with prefix, by the
// rest of the key.
func (p *Process) Written(t testing.TB, prefix string) map[string]string {
	t.Helper()
	entries, _, err := p.Store.List(context.Background(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, e := range entries {
		values[e.Key[len(prefix):]] = string(e.Value)
	}
	return values
}
