package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/state"
)

// Conform tests what [state.Store] promises. Each call of open must return an empty store.
func Conform(t *testing.T, open func(t *testing.T) state.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, state.Store)
	}{
		{"Entries", testEntries},
		{"AnyKeyAndValue", testAny},
		{"Conflicts", testConflicts},
		{"Batches", testBatches},
		{"LargeBatches", testLargeBatches},
		{"Watch", testWatch},
		{"WatchFromList", testWatchFromList},
		{"WatchBatches", testWatchBatches},
		{"WatchEnds", testWatchEnds},
		{"Lead", testLead},
		{"Deposed", testDeposed},
		{"Cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// atOnce is how long a test waits for what should happen at once.
const atOnce = 30 * time.Second

// list returns the entries under a prefix as "key=value".
func list(t testing.TB, s state.Store, prefix string) ([]string, state.Revision) {
	t.Helper()
	entries, at, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%s=%s", e.Key, e.Value))
		if e.Revision == 0 || e.Revision > at {
			t.Errorf("%s is of revision %d, the store of %d", e.Key, e.Revision, at)
		}
	}
	return all, at
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func testEntries(t *testing.T, s state.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "a/1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("get what is not there: %v", err)
	}
	first := Must(s.Put(ctx, "a/1", []byte("one"), 0))(t)
	if _, err := s.Put(ctx, "a/1", []byte("two"), 0); !errors.Is(err, state.ErrConflict) {
		t.Errorf("put what exists as new: %v", err)
	}
	second := Must(s.Put(ctx, "a/1", []byte("two"), first))(t)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	if err := s.Delete(ctx, "a/1", first); !errors.Is(err, state.ErrConflict) {
		t.Errorf("delete at an older revision: %v", err)
	}
	if e := Must(s.Get(ctx, "a/1"))(t); e.Key != "a/1" || string(e.Value) != "two" || e.Revision != second {
		t.Errorf("%+v", e)
	}
	Must(s.Put(ctx, "a", nil, 0))(t)
	Must(s.Put(ctx, "a0", nil, 0))(t)
	Must(s.Put(ctx, "a/0", nil, 0))(t)
	got, _ := list(t, s, "a/")
	same(t, "below a/", got, []string{"a/0=", "a/1=two"})
	got, _ = list(t, s, "")
	same(t, "all", got, []string{"a=", "a/0=", "a/1=two", "a0="})
	if err := s.Delete(ctx, "a/1", second); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "a/1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("get what is gone: %v", err)
	}
	if err := s.Delete(ctx, "a/1", second); !errors.Is(err, state.ErrConflict) {
		t.Errorf("delete what is gone: %v", err)
	}
	if third := Must(s.Put(ctx, "a/1", []byte("three"), 0))(t); third <= second {
		t.Errorf("revision %d after %d", third, second)
	}
}

// testAny: any bytes are returned as they were written.
func testAny(t *testing.T, s state.Store) {
	rng := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 300<<10)
	_, _ = rng.Read(noise) // it never fails
	values := map[string][]byte{
		"empty":                                nil,
		"zero":                                 {0},
		"one":                                  {1},
		"two zeroes and more":                  {0, 0, 1, 2},
		"noise":                                noise,
		"text":                                 bytes.Repeat([]byte("filters: [hello, world]\n"), (4<<20)/24),
		"läuft/https://x.test/a?b=%00 \x00 ü":  []byte("odd key"),
		"long/" + strings.Repeat("k", 8<<10-5): []byte("long key"),
	}
	var ops []state.Op
	for key, value := range values {
		ops = append(ops, state.Op{Key: key, Value: value})
	}
	if _, err := s.Apply(t.Context(), ops); err != nil {
		t.Fatal(err)
	}
	entries, _, err := s.List(t.Context(), "")
	if err != nil || len(entries) != len(values) {
		t.Errorf("%d entries, want %d: %v", len(entries), len(values), err)
	}
	for _, e := range entries {
		if want, there := values[e.Key]; !there || !bytes.Equal(e.Value, want) {
			t.Errorf("%.40q is %.40q", e.Key, e.Value)
		}
		if one := Must(s.Get(t.Context(), e.Key))(t); !bytes.Equal(one.Value, e.Value) || one.Revision != e.Revision {
			t.Errorf("%.40q alone is %.40q", e.Key, one.Value)
		}
	}
}

// testConflicts has many goroutines write one entry, each based on what it has read.
func testConflicts(t *testing.T, s state.Store) {
	const writers, each = 6, 4
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
	if e := Must(s.Get(t.Context(), "n"))(t); len(e.Value) != writers*each {
		t.Errorf("%d of %d writes are there", len(e.Value), writers*each)
	}
}

func testBatches(t *testing.T, s state.Store) {
	ctx := t.Context()
	if _, err := s.Apply(ctx, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	for _, ops := range [][]state.Op{
		{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("1")}, {Key: "none", Remove: true}},
		{{Key: "a", Value: []byte("2")}, {Key: "a", Value: []byte("3")}, {Key: "b", Remove: true}},
		{{Key: "c", Value: []byte("1")}, {Key: "c", Remove: true}, {Key: "d", Remove: true}, {Key: "d", Value: []byte("4")}},
	} {
		if _, err := s.Apply(ctx, ops); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := list(t, s, "")
	same(t, "all", got, []string{"a=3", "d=4"})
}

// testLargeBatches: nobody ever sees a part of a batch, whatever its size.
func testLargeBatches(t *testing.T, s state.Store) {
	const entries, batches = 400, 6
	batch := func(n int) []state.Op {
		ops := make([]state.Op, 0, entries)
		for i := range entries {
			ops = append(ops, state.Op{Key: fmt.Sprintf("b/%03d", i), Value: fmt.Appendf(nil, "%d", n), Remove: n%2 == 1 && i%3 == 1})
		}
		return ops
	}
	if _, err := s.Apply(t.Context(), batch(0)); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for n := 1; n <= batches; n++ {
			if _, err := s.Apply(t.Context(), batch(n)); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	looks := 0
	for done := false; !done; looks++ {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		all, _, err := s.List(t.Context(), "b/")
		if err != nil {
			t.Fatal(err)
		}
		n := string(all[0].Value)
		want := entries
		if n == "1" || n == "3" || n == "5" {
			want -= 133
		}
		if len(all) != want || slices.ContainsFunc(all, func(e state.Entry) bool { return string(e.Value) != n }) {
			t.Fatalf("%d entries, want %d, the first from batch %s", len(all), want, n)
		}
		if done && n != fmt.Sprint(batches) {
			t.Errorf("at the end batch %s is there", n)
		}
	}
	if looks < 2 {
		t.Errorf("looked %d times", looks)
	}
}

// watched returns the events of a Watch up to the one of last.
func watched(t testing.TB, s state.Store, prefix string, from state.Revision, last string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atOnce)
	defer cancel()
	var got []string
	before := from
	for e, err := range s.Watch(ctx, prefix, from) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Revision < before {
			t.Errorf("%s has revision %d, after %d", e.Key, e.Revision, before)
		}
		before = e.Revision
		word := fmt.Sprintf("%s=%s", e.Key, e.Value)
		if e.Gone {
			word = "-" + e.Key
		}
		got = append(got, word)
		if e.Key == last {
			return got
		}
	}
	t.Errorf("not told of %s, but of %q", last, got)
	return got
}

func testWatch(t *testing.T, s state.Store) {
	ctx := t.Context()
	one := Must(s.Put(ctx, "a/1", []byte("before"), 0))(t)
	two := Must(s.Put(ctx, "a/1", []byte("one"), one))(t)
	told := make(chan []string)
	go func() { told <- watched(t, s, "a/", one, "a/end") }()
	Must(s.Put(ctx, "b/1", nil, 0))(t)
	three := Must(s.Put(ctx, "a/2", []byte("two"), 0))(t)
	if err := s.Delete(ctx, "a/2", three); err != nil {
		t.Error(err)
	}
	Must(s.Put(ctx, "a/end", nil, 0))(t)
	want := []string{"a/1=one", "a/2=two", "-a/2", "a/end="}
	same(t, "told", <-told, want)
	same(t, "told later", watched(t, s, "a/", one, "a/end"), want)
	same(t, "told from later on", watched(t, s, "a/", two, "a/end"), want[1:])
}

// testWatchFromList: a List and a Watch from its revision miss nothing, however long ago
// the listed entries were written.
func testWatchFromList(t *testing.T, s state.Store) {
	Must(s.Put(t.Context(), "a/1", []byte("old"), 0))(t)
	for i := range 5 {
		if _, err := s.Apply(t.Context(), []state.Op{{Key: "other", Value: fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
	}
	_, at := list(t, s, "a/")
	if _, err := s.Apply(t.Context(), []state.Op{{Key: "a/1", Remove: true}}); err != nil {
		t.Fatal(err)
	}
	Must(s.Put(t.Context(), "a/end", nil, 0))(t)
	same(t, "told", watched(t, s, "a/", at, "a/end"), []string{"-a/1", "a/end="})
}

// testWatchBatches: events of one batch are marked as such, even if only some are under the
// prefix.
func testWatchBatches(t *testing.T, s state.Store) {
	_, at := list(t, s, "")
	for n := range 3 {
		var ops []state.Op
		for i := range 150 {
			ops = append(ops, state.Op{Key: fmt.Sprintf("%d/%03d", i%2, i), Value: fmt.Append(nil, n)})
		}
		if _, err := s.Apply(t.Context(), ops); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), atOnce)
	defer cancel()
	batches, events := 0, 0
	for e, err := range s.Watch(ctx, "1/", at) {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Value) != fmt.Sprint(batches) {
			t.Fatalf("%s=%s in batch %d", e.Key, e.Value, batches)
		}
		if events++; !e.More {
			if events != 75 {
				t.Errorf("batch %d has %d events", batches, events)
			}
			events = 0
			if batches++; batches == 3 {
				return
			}
		}
	}
	t.Errorf("%d batches, and %d events more", batches, events)
}

func testWatchEnds(t *testing.T, s state.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for _, err := range s.Watch(ctx, "", 0) {
			ended <- err
			return
		}
		ended <- nil
	}()
	cancel()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(atOnce):
		t.Error("it goes on")
	}
}

func testLead(t *testing.T, s state.Store) {
	first := Must(s.Lead(t.Context(), "waves"))(t)
	other := Must(s.Lead(t.Context(), "others"))(t)
	defer other.End()
	short, cancel := context.WithCancel(t.Context())
	defer cancel()
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
	case <-time.After(100 * time.Millisecond):
	}
	waiting, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Lead(waiting, "waves"); !errors.Is(err, context.Canceled) {
		t.Errorf("waited for until it was cancelled: %v", err)
	}
	first.End()
	first.End()
	<-first.Done()
	term := <-second
	if term == nil {
		return
	}
	if term.Number() <= first.Number() {
		t.Errorf("term %d after %d", term.Number(), first.Number())
	}
	cancel()
	<-term.Done()
	third := Must(s.Lead(t.Context(), "waves"))(t)
	if third.Number() <= term.Number() {
		t.Errorf("term %d after %d", third.Number(), term.Number())
	}
	third.End()
}

// testDeposed: writes in a term succeed, and none does when the term is over.
func testDeposed(t *testing.T, s state.Store) {
	ctx := t.Context()
	first := Must(s.Lead(ctx, "waves"))(t)
	before := first.Store()
	if _, err := before.Apply(ctx, []state.Op{{Key: "a", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	at := Must(before.Put(ctx, "b", []byte("1"), 0))(t)
	if _, err := before.Put(ctx, "b", []byte("1"), 0); !errors.Is(err, state.ErrConflict) {
		t.Errorf("put what is there as new: %v", err)
	}
	first.End()
	var many []state.Op
	for i := range 300 {
		many = append(many, state.Op{Key: fmt.Sprint("many/", i), Value: []byte("late")})
	}
	refused := func(when string) {
		t.Helper()
		if _, err := before.Apply(ctx, []state.Op{{Key: "a", Value: []byte("late")}}); !errors.Is(err, state.ErrDeposed) {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := before.Apply(ctx, many); !errors.Is(err, state.ErrDeposed) {
			t.Errorf("%s, much: %v", when, err)
		}
		if _, err := before.Put(ctx, "b", []byte("late"), at); !errors.Is(err, state.ErrDeposed) {
			t.Errorf("%s, put: %v", when, err)
		}
		if err := before.Delete(ctx, "b", at); !errors.Is(err, state.ErrDeposed) {
			t.Errorf("%s, delete: %v", when, err)
		}
	}
	refused("nobody leads")
	second := Must(s.Lead(ctx, "waves"))(t)
	defer second.End()
	refused("another leads")
	if _, err := second.Store().Apply(ctx, append(many, state.Op{Key: "a", Value: []byte("2")})); err != nil {
		t.Error(err)
	}
	got, _ := list(t, second.Store(), "a")
	same(t, "there", got, []string{"a=2"})
	if e, err := before.Get(ctx, "a"); err != nil || string(e.Value) != "2" {
		t.Errorf("who led may read: %s, %v", e.Value, err)
	}
}

func testCancelled(t *testing.T, s state.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Apply(ctx, []state.Op{{Key: "a"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
	if _, err := s.Put(ctx, "a", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if got, _ := list(t, s, ""); len(got) > 0 {
		t.Errorf("written: %q", got)
	}
}
