package local

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

func listed(t *testing.T, s *Store, prefix string) []state.Entry {
	t.Helper()
	entries, _, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return entries
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

// TestOpenedAgain checks that the next process finds what was written.
func TestOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)
	first := must(s.Put(t.Context(), "a/1", []byte("one"), 0))(t)
	at := must(s.Apply(t.Context(), []state.Op{{Key: "a/2"}, {Key: "b", Value: []byte("three")}}))(t)
	led := must(s.Lead(t.Context(), "waves"))(t)
	led.End()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = opened(t, path)
	entries, now, err := s.List(t.Context(), "a/")
	if err != nil || len(entries) != 2 || string(entries[0].Value) != "one" || entries[0].Revision != first || now != at {
		t.Errorf("%+v at %d, %v", entries, now, err)
	}
	if next := must(s.Put(t.Context(), "c", nil, 0))(t); next <= at {
		t.Errorf("revision %d after %d", next, at)
	}
	next := must(s.Lead(t.Context(), "waves"))(t)
	defer next.End()
	if next.Number() <= led.Number() {
		t.Errorf("term %d after %d", next.Number(), led.Number())
	}
}

// TestCompacted checks that old events are not replayed.
func TestCompacted(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	one := must(s.Put(t.Context(), "a/1", []byte("before"), 0))(t)
	for i := range kept + 10 {
		must(s.Apply(t.Context(), []state.Op{{Key: fmt.Sprint(i % 3)}}))(t)
		if i == 20 { // no need to sync thousands of times
			s.db.NoSync = true
		}
	}
	for _, err := range s.Watch(t.Context(), "a/", one) {
		if !errors.Is(err, state.ErrCompacted) {
			t.Errorf("from a revision that is forgotten: %v", err)
		}
	}
}
