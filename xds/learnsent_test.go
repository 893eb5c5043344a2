package xds

import (
	"context"
	"slices"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// TestLearnsListeners checks that a running server learns the bytes of a listener that
// another has sent, and doesn't forget one that only Envoys of the other have.
func TestLearnsListeners(t *testing.T) {
	process := statetest.Start(t, t.TempDir())
	before := sentListener("before", "sent before it started to learn")
	keep(t, process, time.Now(), before)
	s := New(Options{State: process.Writer, Shared: process.Store})
	s.interner.Learn(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.learn(ctx, process.Store) }()
	defer func() { cancel(); <-done }()
	knows := func(what string, want *resource.Listener) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if slices.ContainsFunc(s.interner.Sent(), func(l *resource.Listener) bool { return l.Version == want.Version && slices.Equal(l.Value, want.Value) }) {
				return
			}
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	knows("what was sent before", before)
	late := sentListener("late", "sent by another server")
	old := time.Now().Add(-sentKeep + time.Hour)
	keep(t, process, old, late)
	knows("what another has sent", late)
	keep(t, process, time.Now(), late) // an Envoy of the other server still has it
	used := func() time.Time {
		s.sent.mu.Lock()
		defer s.sent.mu.Unlock()
		return s.sent.used[late.Version]
	}
	for end := time.Now().Add(time.Minute); !used().After(old.Add(time.Hour)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in use at %v", used())
		}
	}
	if _, err := process.Store.Apply(t.Context(), []state.Op{{Key: listenersKeys + late.Version, Remove: true}}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !used().IsZero(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not hear that it is kept no more")
		}
	}
}
