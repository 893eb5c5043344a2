package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"wasmxds/e2e/harness"
	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// dying is a process that is killed at its n-th write, before or after that reaches the API
// server.
type dying struct {
	http.RoundTripper
	left  *atomic.Int64
	after bool
}

var errDead = errors.New("the process has ended")

func (d dying) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.left.Load() <= 0 {
		return nil, errDead
	}
	if r.Method == http.MethodGet || d.left.Add(-1) > 0 {
		return d.RoundTripper.RoundTrip(r)
	}
	if d.after {
		if response, err := d.RoundTripper.RoundTrip(r); err == nil {
			response.Body.Close()
		}
	}
	return nil, errDead
}

// testKilledAtAnyWrite checks that a batch is complete or absent wherever its writer is
// killed, and that the next writer removes what that has left.
func testKilledAtAnyWrite(t *testing.T, server *kubetest.Server, namespace string) {
	for n := int64(1); ; n++ {
		died := false
		for _, after := range []bool{false, true} {
			namespace := fmt.Sprintf("%s-%d-%t", namespace, n, after)
			server.Namespace(namespace)
			s := store(t, server.Config, namespace)
			statetest.Must(s.Apply(t.Context(), large(1)))(t)
			var left atomic.Int64
			left.Store(n)
			config := rest.CopyConfig(server.Config)
			config.Wrap(func(next http.RoundTripper) http.RoundTripper { return dying{next, &left, after} })
			_, err := store(t, config, namespace).Apply(t.Context(), large(2))
			switch got := whole(t, s); {
			case got != '1' && got != '2':
				t.Errorf("dead at write %d: nothing is there", n)
			case err == nil && got != '2':
				t.Errorf("dead at write %d: it was said to be done, and is not", n)
			}
			died = died || left.Load() <= 0
			next := store(t, server.Config, namespace)
			statetest.Must(next.Apply(t.Context(), large(3)))(t)
			if got := whole(t, s); got != '3' {
				t.Errorf("dead at write %d: then there is batch %c", n, got)
			}
			if have, named := shards(t, next), named(t, next); !slices.Equal(have, named) {
				t.Errorf("dead at write %d: there are the shards %q, and the head names %q", n, have, named)
			}
		}
		if !died {
			t.Logf("a batch of 250 entries takes %d writes", n-1)
			return
		}
	}
}

// TestServerKilled checks that writes fail while the API server is away, and that, when it
// is back, every acknowledged write is there and reaches the watchers.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := kubetest.Start(t)
	server.Namespace("test")
	s := store(t, server.Config, "test")
	var term state.Term
	statetest.Interrupted(t, s, func(func(int)) {
		term = statetest.Must(s.Lead(t.Context(), "waves"))(t)
		server.Kill()
	}, func() {
		select {
		case <-term.Done():
		case <-time.After(statetest.Patience):
			t.Error("the term goes on")
		}
		server.Run()
	})
	if _, err := term.Store().Apply(t.Context(), statetest.Put("late", "x")); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("written in a term that is over: %v", err)
	}
	term.End()
}

// proxy starts a proxy between a process and the API server, which can be slow or cut.
func proxy(t testing.TB, server *kubetest.Server) (*harness.Proxy, *rest.Config) {
	t.Helper()
	line := statetest.Must(harness.StartProxy(server.Config.Host[len("https://"):]))(t)
	t.Cleanup(func() {
		if err := line.Close(); err != nil {
			t.Error(err)
		}
	})
	return line, server.As("admin", "https://"+line.Address())
}

// testTooOld checks that a watcher that was disconnected for longer than the log goes back
// gets an error, and that one that was disconnected otherwise misses nothing.
func testTooOld(t *testing.T, server *kubetest.Server, namespace string) {
	direct := store(t, server.Config, namespace)
	for _, long := range []bool{false, true} {
		line, config := proxy(t, server)
		s := store(t, config, namespace)
		at := statetest.Must(direct.Apply(t.Context(), statetest.Put("n/first", "")))(t)
		ctx, cancel := context.WithTimeout(t.Context(), statetest.Patience)
		var told []string
		var failed error
		var running sync.WaitGroup
		heard := make(chan struct{}, 2)
		running.Go(func() {
			for e, err := range s.Watch(ctx, "n/", at-1) {
				if failed = err; err != nil {
					return
				}
				told = append(told, e.Key)
				if len(told) <= 2 {
					heard <- struct{}{}
				}
				if e.Key == "n/last" {
					return
				}
			}
		})
		<-heard
		statetest.Must(direct.Apply(t.Context(), statetest.Put("n/second", "")))(t)
		<-heard // by a watch
		line.Down()
		statetest.Must(direct.Apply(t.Context(), statetest.Put("n/away", "")))(t)
		if long {
			for n := range 5 {
				statetest.Must(direct.Apply(t.Context(), []state.Op{{Key: "m", Value: noise(byte(n), 30<<10)}}))(t)
			}
		}
		statetest.Must(direct.Apply(t.Context(), statetest.Put("n/last", "")))(t)
		line.Up()
		running.Wait()
		cancel()
		if long != errors.Is(failed, state.ErrCompacted) {
			t.Errorf("long: %t, told of %q, and %v", long, told, failed)
		}
		if want := []string{"n/first", "n/second", "n/away", "n/last"}; !long && !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
	}
}

// testSlow checks that an API server that needs a second for each call works, slowly.
func testSlow(t *testing.T, server *kubetest.Server, namespace string) {
	line, config := proxy(t, server)
	s := store(t, config, namespace)
	statetest.Must(s.Apply(t.Context(), statetest.Put("before", "1")))(t) // now there is a connection
	line.Delay(500*time.Millisecond, 500*time.Millisecond)
	s.lease = 2 * shortLease
	at := statetest.Must(s.Apply(t.Context(), statetest.Put("n", "x")))(t)
	if e := statetest.Must(s.Get(t.Context(), "n"))(t); e.Revision != at {
		t.Errorf("written at %d, and there is %d", at, e.Revision)
	}
	term := statetest.Must(s.Lead(t.Context(), "waves"))(t)
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

// testLost checks that deletion of the head ends watches and terms, and that the store then
// has another ID.
func testLost(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	statetest.Must(s.Apply(t.Context(), large(1)))(t)
	id, at, err := s.ID(t.Context())
	if again, later, err2 := s.ID(t.Context()); err != nil || err2 != nil || id == "" || id != again || at == 0 || later != at {
		t.Errorf("id %q at %d, then %q at %d: %v, %v", id, at, again, later, err, err2)
	}
	term := statetest.Must(s.Lead(t.Context(), "waves"))(t)
	defer term.End()
	watched := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		first := true
		for _, err := range s.Watch(t.Context(), "", at) {
			if first {
				close(begun)
				first = false
			}
			if err != nil {
				watched <- err
				return
			}
		}
	}()
	statetest.Must(s.Apply(t.Context(), statetest.Put("a", "1")))(t)
	<-begun
	if err := s.secrets.Delete(t.Context(), s.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; !errors.Is(err, state.ErrCompacted) {
		t.Errorf("who watches is told %v", err)
	}
	if _, err := term.Store().Apply(t.Context(), statetest.Put("a", "2")); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("written in a term of before: %v", err)
	}
	statetest.Must(s.Apply(t.Context(), statetest.Put("a", "3")))(t)
	all, _, err := s.List(t.Context(), "")
	if err != nil || len(all) != 1 {
		t.Errorf("%d entries are there: %v", len(all), err)
	}
	if another, _, err := s.ID(t.Context()); err != nil || another == id {
		t.Errorf("the id is %q, as before: %v", another, err)
	}
}

// testShardDeleted checks that the error names the shard if somebody has deleted one.
func testShardDeleted(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	statetest.Must(s.Apply(t.Context(), large(1)))(t)
	gone := shards(t, s)[0]
	if err := s.secrets.Delete(t.Context(), gone, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.List(t.Context(), ""); !errors.Is(err, errShardGone) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Apply(t.Context(), large(2)); !errors.Is(err, errShardGone) {
		t.Errorf("apply: %v", err)
	}
}

// testSince checks that a write that depends on a revision is done only if nothing has
// changed since.
func testSince(t *testing.T, server *kubetest.Server, namespace string) {
	s, other := store(t, server.Config, namespace), store(t, server.Config, namespace)
	at := statetest.Must(s.Apply(t.Context(), statetest.Put("n/1", "x")))(t)
	statetest.Must(s.Apply(t.Context(), statetest.Put("other", "x")))(t)
	statetest.Must(s.ApplySince(t.Context(), statetest.Put("n/2", "x"), "n/", at))(t)
	if _, err := s.ApplySince(t.Context(), statetest.Put("n/3", "x"), "n/", at); !errors.Is(err, state.ErrConflict) {
		t.Errorf("written though others were there: %v", err)
	}
	at = statetest.Must(other.Apply(t.Context(), append(large(1), statetest.Put("o", "x")...)))(t)
	statetest.Must(s.Apply(t.Context(), statetest.Put("m", "x")))(t)
	statetest.Must(s.ApplySince(t.Context(), statetest.Put("m", "y"), "n/", at))(t)
	if _, err := s.ApplySince(t.Context(), statetest.Put("m", "z"), "n/", at-1); !errors.Is(err, state.ErrConflict) {
		t.Errorf("written though others were in shards: %v", err)
	}
}
