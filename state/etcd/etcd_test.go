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
		s := New(dialer(endpoint), "/test/state/", slog.New(slog.DiscardHandler))
		s.lease = shortLease
		statetest.LeadForEver(s)
	}
	goleak.VerifyTestMain(m)
}

func dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c := statetest.Must(dialer(endpoints...)(t.Context()))(t)
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

// shortLease is a lease that is short enough for tests to wait for its end.
const shortLease = 4 * time.Second

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

// TestSharedPrefix checks that a store ignores others' keys next to its prefix.
func TestSharedPrefix(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	for _, key := range []string{"/test/state", "/test/stat", "/test/state0", "/test/statf", "/test/definitions/hello"} {
		statetest.Must(client.Put(t.Context(), key, "other"))(t)
	}
	statetest.Must(s.Apply(t.Context(), statetest.Put("a", "1")))(t)
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

// TestMemberKilled checks that a cluster of three works with two members, that no write
// succeeds with one, and that every acknowledged write is there when the majority is back.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 3)
	s := store(t, c.Endpoints()...)
	statetest.Interrupted(t, s, func(write func(many int)) {
		c.Members[0].Kill()
		write(20)
		c.Members[1].Kill()
	}, func() {
		c.Members[0].Restart()
		c.Members[1].Restart()
	})
}

// proxy starts a proxy between a client and a member, which can be slow or cut.
func proxy(t testing.TB, to string) *harness.Proxy {
	t.Helper()
	p := statetest.Must(harness.StartProxy(to))(t)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestCompactedWhileAway checks that a watcher that was disconnected while etcd was
// compacted gets an error, and that one that was disconnected otherwise misses nothing.
func TestCompactedWhileAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	direct := store(t, c.Endpoints()...)
	for _, compacted := range []bool{false, true} {
		line := proxy(t, c.Members[0].Address())
		s := store(t, line.Address())
		at := statetest.Must(s.Apply(t.Context(), statetest.Put("n/first", "")))(t)
		ctx, cancel := context.WithTimeout(t.Context(), statetest.Patience)
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
		statetest.Must(direct.Apply(t.Context(), statetest.Put("n/away", "")))(t)
		rev := statetest.Must(direct.Apply(t.Context(), statetest.Put("n/last", "")))(t)
		if compacted {
			statetest.Must(client.Compact(t.Context(), int64(rev), clientv3.WithCompactPhysical()))(t)
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

// TestSlow checks that a store that needs a second for each call works, slowly.
func TestSlow(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	line := proxy(t, c.Members[0].Address())
	line.Delay(500*time.Millisecond, 500*time.Millisecond)
	s := store(t, line.Address())
	ops := large("x")
	at := statetest.Must(s.Apply(t.Context(), ops))(t)
	all, now, err := s.List(t.Context(), "n/")
	if err != nil || len(all) != len(ops) || now < at {
		t.Errorf("%d of %d, %v", len(all), len(ops), err)
	}
	term := statetest.Must(s.Lead(t.Context(), "waves"))(t)
	if _, err := term.Store().Apply(t.Context(), statetest.Put("led", "")); err != nil {
		t.Error(err)
	}
	select { // the lease is kept
	case <-term.Done():
		t.Error("the term is over")
	case <-time.After(3 * shortLease):
	}
	if _, err := term.Store().Apply(t.Context(), statetest.Put("led", "still")); err != nil {
		t.Error(err)
	}
	term.End()
}

// TestFull checks that a full etcd reports this, and that its content can still be read.
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
	// Etcd may report that it is full for a write that it has done: here the last one.
	for i := range n - 1 {
		if !slices.ContainsFunc(all, func(e state.Entry) bool { return e.Key == fmt.Sprint("n/", i) }) {
			t.Errorf("entry %d, which was written, is gone", i)
		}
	}
	// An operator frees space.
	statetest.Must(client.Delete(t.Context(), s.at("n/"), clientv3.WithPrefix()))(t)
	statetest.Must(client.Compact(t.Context(), int64(at)+1, clientv3.WithCompactPhysical()))(t)
	statetest.Must(client.Defragment(t.Context(), client.Endpoints()[0]))(t)
	statetest.Must(client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}))(t)
	statetest.Until(t, "write when there is room", func(ctx context.Context) error {
		_, err := s.Apply(ctx, statetest.Put("n/again", "x"))
		return err
	})
}

// TestTooLarge checks that what etcd can never accept is rejected permanently.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	noise := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // it never fails
	_, err := s.Apply(t.Context(), append(statetest.Put("a", "1"), state.Op{Key: "large", Value: noise}))
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

// TestSince checks that a write that depends on a revision is done only if nothing has
// changed since.
func TestSince(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	at := statetest.Must(s.Apply(t.Context(), statetest.Put("n/1", "x")))(t)
	statetest.Must(s.Apply(t.Context(), statetest.Put("other", "x")))(t)
	statetest.Must(s.ApplySince(t.Context(), statetest.Put("n/2", "x"), "n/", at))(t)
	if _, err := s.ApplySince(t.Context(), statetest.Put("n/3", "x"), "n/", at); !errors.Is(err, state.ErrConflict) {
		t.Errorf("written though others were there: %v", err)
	}
}
