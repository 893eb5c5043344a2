package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"wasmxds/state"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("WASMXDS_TEST_WRITE_TO"); path != "" {
		writeForEver(path)
	}
	goleak.VerifyTestMain(m)
}

func opened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it
	return s
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)

	if _, err := s.Get(ctx, "a/1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("get what is not there: %v", err)
	}
	first := must(s.Put(ctx, "a/1", []byte("one"), 0))(t)
	if _, err := s.Put(ctx, "a/1", []byte("two"), 0); !errors.Is(err, state.ErrConflict) {
		t.Errorf("put what exists as new: %v", err)
	}
	second := must(s.Put(ctx, "a/1", []byte("two"), first))(t)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	if err := s.Delete(ctx, "a/1", first); !errors.Is(err, state.ErrConflict) {
		t.Errorf("delete at an older revision: %v", err)
	}
	if err := s.Apply(ctx, []state.Op{{Key: "a/2", Value: nil}, {Key: "b/1", Value: []byte("three")}, {Key: "c", Remove: true}}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = opened(t, path)
	var got []string
	for _, e := range must(s.List(ctx, "a/"))(t) {
		got = append(got, fmt.Sprintf("%s=%s", e.Key, e.Value))
	}
	if want := []string{"a/1=two", "a/2="}; !slices.Equal(got, want) {
		t.Errorf("after opening it again: %q, want %q", got, want)
	}
	e := must(s.Get(ctx, "a/1"))(t)
	if e.Revision != second || string(e.Value) != "two" {
		t.Errorf("%+v", e)
	}
	if err := s.Delete(ctx, "a/1", e.Revision); err != nil {
		t.Error(err)
	}
	third := must(s.Put(ctx, "a/1", []byte("four"), 0))(t)
	if third <= second {
		t.Errorf("revision %d after %d", third, second)
	}
}

// TestConflicts has many write one entry, each from what it has read.
func TestConflicts(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	const writers, each = 8, 5
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				e, err := s.Get(t.Context(), "n")
				if err != nil && !errors.Is(err, state.ErrNotFound) {
					t.Error(err)
					return
				}
				_, err = s.Put(t.Context(), "n", append(e.Value, '.'), e.Revision)
				switch {
				case err == nil:
					done++
				case !errors.Is(err, state.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e := must(s.Get(t.Context(), "n"))(t); len(e.Value) != writers*each {
		t.Errorf("%d of %d writes are there", len(e.Value), writers*each)
	}
}

func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	one := must(s.Put(ctx, "a/1", []byte("before"), 0))(t)
	must(s.Put(ctx, "a/1", []byte("one"), one))(t)

	var got []string
	told := make(chan struct{})
	go func() {
		defer close(told)
		for e, err := range s.Watch(ctx, "a/", one) {
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, fmt.Sprintf("%s=%s gone=%t", e.Key, e.Value, e.Gone))
			if e.Gone {
				return
			}
		}
	}()
	must(s.Put(ctx, "b/1", nil, 0))(t)
	two := must(s.Put(ctx, "a/2", []byte("two"), 0))(t)
	if err := s.Delete(ctx, "a/2", two); err != nil {
		t.Error(err)
	}
	<-told
	want := []string{"a/1=one gone=false", "a/2=two gone=false", "a/2= gone=true"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}

	for i := range kept + 10 {
		if err := s.Apply(ctx, []state.Op{{Key: fmt.Sprint(i % 3), Value: nil}}); err != nil {
			t.Fatal(err)
		}
		if i == 20 { // no need to sync thousands of times
			s.db.NoSync = true
		}
	}
	for _, err := range s.Watch(ctx, "a/", one) {
		if !errors.Is(err, state.ErrCompacted) {
			t.Errorf("from a revision that is forgotten: %v", err)
		}
	}
}

func TestLead(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)
	first := must(s.Lead(ctx, "waves"))(t)
	short, cancel := context.WithCancel(ctx)
	second := make(chan state.Term)
	go func() {
		term, err := s.Lead(short, "waves")
		if err != nil {
			t.Error(err)
		}
		second <- term
	}()
	select {
	case <-second:
		t.Error("two lead at a time")
	default:
	}
	first.End()
	first.End()
	term := <-second
	if term.Number() <= first.Number() {
		t.Errorf("term %d after %d", term.Number(), first.Number())
	}
	cancel()
	<-term.Done()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, path)
	third := must(s.Lead(ctx, "waves"))(t)
	if third.Number() <= term.Number() {
		t.Errorf("term %d after %d, in another process", third.Number(), term.Number())
	}
	third.End()
}
