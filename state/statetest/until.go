package statetest

import (
	"context"
	"testing"
	"time"

	"wasmxds/state"
)

// Patience is how long a test waits on a busy machine.
const Patience = 90 * time.Second

// Must returns the result of a call that must not fail.
func Must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Put returns a batch of one entry.
func Put(key, value string) []state.Op { return []state.Op{{Key: key, Value: []byte(value)}} }

// Until calls do until it returns nil.
func Until(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
