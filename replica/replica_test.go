package replica

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wasmxds/state"
	"wasmxds/state/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

func opened(t *testing.T) *local.Store {
	t.Helper()
	s, err := local.Open(filepath.Join(t.TempDir(), "state.db"), discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// run runs a registry until end is called.
func run(r *Registry) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

func others(t *testing.T, r *Registry, want map[string]bool) {
	t.Helper()
	if got := r.Others(); !reflect.DeepEqual(got, want) {
		t.Errorf("others are %v, want %v", got, want)
	}
}

// TestRegistry checks that replicas see each other join, die, return at another address,
// and leave.
func TestRegistry(t *testing.T) {
	store := opened(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := NewRegistry(store, Member{ID: "a", Address: "10.0.0.1:1"}, discard), NewRegistry(store, Member{ID: "b", Address: "10.0.0.2:1"}, discard)
		others(t, a, map[string]bool{})
		endA, endB := run(a), run(b)
		time.Sleep(3 * time.Second)
		others(t, a, map[string]bool{"b": true})
		others(t, b, map[string]bool{"a": true})
		if m := a.Living(); len(m) != 1 || m["b"].Address != "10.0.0.2:1" {
			t.Errorf("living are %v", m)
		}
		endB()
		time.Sleep(3 * time.Second)
		others(t, a, map[string]bool{})

		// One that dies announces nothing.
		if err := b.show(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		others(t, a, map[string]bool{"b": true})
		look := func(r *Registry) {
			t.Helper()
			if err := r.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		emptied := NewRegistry(store, Member{ID: "c", Address: "10.0.0.2:1"}, discard)
		look(emptied)
		others(t, emptied, map[string]bool{"a": true, "b": true})
		time.Sleep(livesFor)
		others(t, a, map[string]bool{"b": false})
		look(emptied)
		others(t, emptied, map[string]bool{"a": true}) // it was b itself
		endEmptied := run(emptied)
		time.Sleep(2 * time.Second)
		others(t, a, map[string]bool{"c": true})
		endEmptied()
		time.Sleep(2 * time.Second)
		others(t, a, map[string]bool{"b": false})
		if m := a.Living(); len(m) != 0 {
			t.Errorf("living are %v", m)
		}
		time.Sleep(forgetAfter)
		others(t, a, map[string]bool{})
		if _, err := store.Get(t.Context(), memberKeys+"b"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("the store has not forgotten it: %v", err)
		}
		next := NewRegistry(store, Member{ID: "b", Address: "10.0.0.9:1"}, discard)
		end := run(next)
		time.Sleep(3 * time.Second)
		if m := a.Living(); m["b"].Address != "10.0.0.9:1" {
			t.Errorf("living are %v", m)
		}
		end()
		endA()
	})
}

// away is a store that can't be reached.
type away struct{ state.Store }

var errAway = errors.New("connection refused")

func (away) List(context.Context, string) ([]state.Entry, state.Revision, error) {
	return nil, 0, errAway
}

// TestStoreAway checks that, while the store can't be read, the replicas last seen count as
// live.
func TestStoreAway(t *testing.T) {
	store := opened(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := NewRegistry(store, Member{ID: "a", Address: "10.0.0.1:1"}, discard), NewRegistry(store, Member{ID: "b", Address: "10.0.0.2:1"}, discard)
		endB := run(b)
		defer endB()
		synctest.Wait()
		if err := a.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.store = away{store}
		time.Sleep(time.Hour)
		if err := a.look(t.Context()); !errors.Is(err, errAway) {
			t.Fatal(err)
		}
		others(t, a, map[string]bool{"b": true})
		a.store = store
		if err := a.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		others(t, a, map[string]bool{"b": true})
	})
}

// TestTwin checks that a replica notices another with its ID.
func TestTwin(t *testing.T) {
	store := opened(t)
	before, a, b := NewRegistry(store, Member{ID: "a", Key: "k0"}, discard), NewRegistry(store, Member{ID: "a", Key: "k1"}, discard), NewRegistry(store, Member{ID: "a", Key: "k2"}, discard)
	do := func(steps ...func(context.Context) error) {
		t.Helper()
		for _, step := range steps {
			if err := step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	do(before.show, a.look, a.show, a.look)
	if a.Twin() {
		t.Error("the process before it is no other server")
	}
	do(b.show, a.look)
	if !a.Twin() {
		t.Error("it does not notice")
	}
	do(a.show, a.look)
	if a.Twin() {
		t.Error("the other is gone, and it has not noticed")
	}
}

// TestLead checks that other replicas learn who leads, and that the latest term wins.
func TestLead(t *testing.T) {
	store := opened(t)
	a, b := NewRegistry(store, Member{ID: "a", Address: "10.0.0.1:1"}, discard), NewRegistry(store, Member{ID: "b", Address: "10.0.0.2:1"}, discard)
	look := func() {
		t.Helper()
		for _, r := range []*Registry{a, b} {
			if err := errors.Join(r.show(t.Context()), r.look(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
	}
	look()
	if _, term := b.Leader(); term != 0 {
		t.Errorf("term %d, and nobody leads", term)
	}
	first, err := a.Lead(t.Context(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	look()
	if m, term := b.Leader(); m.ID != "a" || m.Address != "10.0.0.1:1" || term != first.Number() {
		t.Errorf("%v leads in term %d", m, term)
	}
	first.End()
	second, err := b.Lead(t.Context(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	defer second.End()
	look()
	if m, term := a.Leader(); m.ID != "b" || term != second.Number() || term <= first.Number() {
		t.Errorf("%v leads in term %d", m, term)
	}
}

// TestSameClock checks that a leader knows whether it can use its predecessor's times: not
// if that had another clock, or if it has never seen that.
func TestSameClock(t *testing.T) {
	for _, c := range []struct {
		name string
		skew time.Duration // of its predecessor's clock
		seen bool
		want bool
	}{
		{"about the same", 2 * time.Second, true, true},
		{"behind", -5 * time.Minute, true, false},
		{"ahead", 5 * time.Minute, true, false},
		{"never seen", 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := opened(t)
			a, b := NewRegistry(store, Member{ID: "a"}, discard), NewRegistry(store, Member{ID: "b"}, discard)
			first, err := a.Lead(t.Context(), "rollouts")
			if err != nil {
				t.Fatal(err)
			}
			if !a.SameClock() {
				t.Error("nobody led before it")
			}
			if c.seen {
				a.own.Beat++
				a.own.Clock = time.Now().Add(c.skew)
				value, err := json.Marshal(a.own)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := store.Apply(t.Context(), []state.Op{{Key: memberKeys + "a", Value: value}}); err != nil {
					t.Fatal(err)
				}
				if err := b.look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			first.End()
			second, err := b.Lead(t.Context(), "rollouts")
			if err != nil {
				t.Fatal(err)
			}
			if b.SameClock() != c.want {
				t.Errorf("the same: %t", b.SameClock())
			}
			second.End()
			third, err := b.Lead(t.Context(), "rollouts")
			if err != nil {
				t.Fatal(err)
			}
			defer third.End()
			if !b.SameClock() {
				t.Error("it led itself before")
			}
		})
	}
}
