package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"wasmxds/e2e/harness"
	"wasmxds/etcdconn"
	"wasmxds/state"
	"wasmxds/state/statetest"
	"wasmxds/state/statetest/etcdtest"
)

func TestMain(m *testing.M) {
	if endpoint := os.Getenv("WASMXDS_TEST_LEAD_AT"); endpoint != "" {
		leadForEver(endpoint)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits, on a machine with much else to do.
const patience = 90 * time.Second

func dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c := must(dialer(endpoints...)(t.Context()))(t)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func dialer(endpoints ...string) Dial {
	return (&etcdconn.Options{Endpoints: endpoints, Log: slog.New(slog.DiscardHandler)}).Dial
}

func store(t testing.TB, endpoints ...string) *Store {
	t.Helper()
	s := New(dialer(endpoints...), "/test/state/", slog.New(slog.DiscardHandler))
	s.lease = shortLease
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shortLease is a lease that tests can wait for.
const shortLease = 4 * time.Second

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func put(key, value string) []state.Op { return []state.Op{{Key: key, Value: []byte(value)}} }

// until tries again until do gives no error.
func until(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

func TestConform(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	shared := func(context.Context) (*clientv3.Client, error) { return client, nil }
	n := 0
	statetest.Conform(t, func(t *testing.T) state.Store {
		n++
		return New(shared, fmt.Sprintf("/test %d", n), slog.New(slog.DiscardHandler))
	})
}

// TestSharedPrefix: others' keys beside the prefix are none of it.
func TestSharedPrefix(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	for _, key := range []string{"/test/state", "/test/stat", "/test/state0", "/test/statf", "/test/definitions/hello"} {
		must(client.Put(t.Context(), key, "other"))(t)
	}
	must(s.Apply(t.Context(), put("a", "1")))(t)
	all, _, err := s.List(t.Context(), "")
	if err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	id, at, err := s.ID(t.Context())
	again, later, err2 := s.ID(t.Context())
	if err != nil || err2 != nil || id == "" || id != again || at == 0 || later != at {
		t.Errorf("id %q at %d, then %q at %d: %v, %v", id, at, again, later, err, err2)
	}
}

// TestMemberKilled: with two of three members all goes on, with one nothing is written,
// and when the majority is back all that was said to be written is there.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 3)
	s := store(t, c.Endpoints()...)
	must(s.Apply(t.Context(), put("before", "1")))(t)
	_, at, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var told atomic.Int64
	watching, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for _, err := range s.Watch(watching, "n/", at) {
			if err != nil {
				t.Error(err)
				return
			}
			told.Add(1)
		}
	})
	written := 0
	write := func(many int) {
		t.Helper()
		for range many {
			until(t, "write", func(ctx context.Context) error {
				_, err := s.Apply(ctx, put(fmt.Sprint("n/", written), "x"))
				return err
			})
			written++
		}
	}
	write(5)
	c.Members[0].Kill()
	write(20)
	c.Members[1].Kill()
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	if _, err := s.Apply(short, put("lost", "x")); err == nil {
		t.Error("one of three members has written")
	}
	cancel()
	c.Members[0].Restart()
	c.Members[1].Restart()
	write(5)
	until(t, "watch", func(context.Context) error {
		if n := told.Load(); n < int64(written) {
			return fmt.Errorf("told of %d of %d", n, written)
		}
		return nil
	})
	if n := told.Load(); n != int64(written) {
		t.Errorf("told of %d of %d", n, written)
	}
	all, _, err := s.List(t.Context(), "n/")
	if err != nil || len(all) != written {
		t.Errorf("%d of %d are there: %v", len(all), written, err)
	}
	stop()
	running.Wait()
}

// proxy is between a client and a member: it may be slow, or cut.
func proxy(t testing.TB, to string) *harness.Proxy {
	t.Helper()
	p := must(harness.StartProxy(to))(t)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestCompactedWhileAway: who was cut off while etcd was compacted is told so; who was
// cut off otherwise misses nothing.
func TestCompactedWhileAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	direct := store(t, c.Endpoints()...)
	for _, compacted := range []bool{false, true} {
		line := proxy(t, c.Members[0].Address())
		s := store(t, line.Address())
		at := must(s.Apply(t.Context(), put("n/first", "")))(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var told []string
		var failed error
		var running sync.WaitGroup
		first := make(chan struct{})
		running.Go(func() {
			for e, err := range s.Watch(ctx, "n/", at-1) {
				if failed = err; err != nil {
					return
				}
				told = append(told, e.Key)
				if len(told) == 1 {
					close(first)
				}
				if e.Key == "n/last" {
					return
				}
			}
		})
		<-first
		line.Down()
		must(direct.Apply(t.Context(), put("n/away", "")))(t)
		rev := must(direct.Apply(t.Context(), put("n/last", "")))(t)
		if compacted {
			must(client.Compact(t.Context(), int64(rev), clientv3.WithCompactPhysical()))(t)
		}
		line.Up()
		running.Wait()
		cancel()
		if compacted != errors.Is(failed, state.ErrCompacted) {
			t.Errorf("compacted: %t, told %v", compacted, failed)
		}
		if want := []string{"n/first", "n/away", "n/last"}; !compacted && !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
	}
}

// TestSlow: a store that takes a second for each call is only slow.
func TestSlow(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	line := proxy(t, c.Members[0].Address())
	line.Delay(500*time.Millisecond, 500*time.Millisecond)
	s := store(t, line.Address())
	ops := large("x")
	at := must(s.Apply(t.Context(), ops))(t)
	all, now, err := s.List(t.Context(), "n/")
	if err != nil || len(all) != len(ops) || now < at {
		t.Errorf("%d of %d, %v", len(all), len(ops), err)
	}
	term := must(s.Lead(t.Context(), "waves"))(t)
	if _, err := term.Store().Apply(t.Context(), put("led", "")); err != nil {
		t.Error(err)
	}
	select { // the lease is kept
	case <-term.Done():
		t.Error("the term is over")
	case <-time.After(3 * shortLease):
	}
	if _, err := term.Store().Apply(t.Context(), put("led", "still")); err != nil {
		t.Error(err)
	}
	term.End()
}

// TestFull: where etcd has no more room it says so, and what is there can be read.
func TestFull(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, "--quota-backend-bytes=16777216")
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	rng := rand.NewChaCha8([32]byte{1})
	var full error
	n := 0
	for ; full == nil && n < 100; n++ {
		noise := make([]byte, 500<<10)
		_, _ = rng.Read(noise) // it never fails
		_, full = s.Apply(t.Context(), []state.Op{{Key: fmt.Sprint("n/", n), Value: noise}})
	}
	if full == nil || !strings.Contains(full.Error(), "space") {
		t.Fatalf("after %d: %v", n, full)
	}
	var refused *state.RefusedError
	if errors.As(full, &refused) {
		t.Error("it is refused for good")
	}
	all, at, err := s.List(t.Context(), "n/")
	if err != nil {
		t.Error(err)
	}
	// Etcd may say that it is full of a write that it has done, the last one here.
	for i := range n - 1 {
		if !slices.ContainsFunc(all, func(e state.Entry) bool { return e.Key == fmt.Sprint("n/", i) }) {
			t.Errorf("entry %d, which was written, is gone", i)
		}
	}
	// An operator makes room.
	must(client.Delete(t.Context(), s.at("n/"), clientv3.WithPrefix()))(t)
	must(client.Compact(t.Context(), int64(at)+1, clientv3.WithCompactPhysical()))(t)
	must(client.Defragment(t.Context(), client.Endpoints()[0]))(t)
	must(client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}))(t)
	until(t, "write when there is room", func(ctx context.Context) error {
		_, err := s.Apply(ctx, put("n/again", "x"))
		return err
	})
}

// TestTooLarge: what etcd would never take is refused for good.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	noise := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // it never fails
	_, err := s.Apply(t.Context(), append(put("a", "1"), state.Op{Key: "large", Value: noise}))
	refused, is := errors.AsType[*state.RefusedError](err)
	if !is || refused.Key != "large" {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(t.Context(), "large", noise, 0); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if _, err := s.Apply(t.Context(), []state.Op{{Key: "just", Value: noise[:maxBytes-100]}}); err != nil {
		t.Errorf("what is just not too large: %v", err)
	}
}

// TestSince: what rests on how things were is written only if they still are so.
func TestSince(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	at := must(s.Apply(t.Context(), put("n/1", "x")))(t)
	must(s.Apply(t.Context(), put("other", "x")))(t)
	must(s.ApplySince(t.Context(), put("n/2", "x"), "n/", at))(t)
	if _, err := s.ApplySince(t.Context(), put("n/3", "x"), "n/", at); !errors.Is(err, state.ErrConflict) {
		t.Errorf("written though others were there: %v", err)
	}
}
