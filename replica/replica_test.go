package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
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

// TestRegistry: servers see each other come, die, come back at another address, and
// end.
func TestRegistry(t *testing.T) {
	store := opened(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := NewRegistry(store, "a", "10.0.0.1:1", discard), NewRegistry(store, "b", "10.0.0.2:1", discard)
		others(t, a, map[string]bool{})
		endA, endB := run(a), run(b)
		time.Sleep(3 * time.Second)
		others(t, a, map[string]bool{"b": true})
		others(t, b, map[string]bool{"a": true})
		if m := a.Members(); len(m) != 2 || m["b"].Address != "10.0.0.2:1" {
			t.Errorf("members are %v", m)
		}
		endB()
		time.Sleep(3 * time.Second)
		others(t, a, map[string]bool{})

		// One that dies says nothing.
		if err := b.show(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		others(t, a, map[string]bool{"b": true})
		time.Sleep(livesFor)
		others(t, a, map[string]bool{"b": false})
		if m := a.Members(); len(m) != 1 {
			t.Errorf("members are %v", m)
		}
		time.Sleep(forgetAfter)
		others(t, a, map[string]bool{})
		if _, err := store.Get(t.Context(), memberKeys+"b"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("the store has not forgotten it: %v", err)
		}
		next := NewRegistry(store, "b", "10.0.0.9:1", discard)
		end := run(next)
		time.Sleep(3 * time.Second)
		if m := a.Members(); m["b"].Address != "10.0.0.9:1" {
			t.Errorf("members are %v", m)
		}
		end()
		endA()
	})
}

// TestLead: others are told who leads, and a later term counts.
func TestLead(t *testing.T) {
	store := opened(t)
	a, b := NewRegistry(store, "a", "10.0.0.1:1", discard), NewRegistry(store, "b", "10.0.0.2:1", discard)
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
	first, err := a.Lead(t.Context(), store, "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	look()
	if m, term := b.Leader(); m.ID != "a" || m.Address != "10.0.0.1:1" || term != first.Number() {
		t.Errorf("%v leads in term %d", m, term)
	}
	first.End()
	second, err := b.Lead(t.Context(), store, "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	defer second.End()
	look()
	if m, term := a.Leader(); m.ID != "b" || term != second.Number() || term <= first.Number() {
		t.Errorf("%v leads in term %d", m, term)
	}
}

// mover answers what it is told to answer.
type mover struct {
	err   error
	heard []roster.Telling
	from  string
	did   rollout.Command
}

func (m *mover) Hear(_ context.Context, term uint64, from string, t roster.Telling) (bool, error) {
	if term != 7 {
		return false, driver.ErrNotLeader
	}
	m.heard, m.from = append(m.heard, t), from
	return !t.Anew, m.err
}

func (m *mover) Do(_ context.Context, c rollout.Command) error { m.did = c; return m.err }

func (m *mover) Status(context.Context) (rollout.Status, error) {
	return rollout.Status{Stalled: "so it is"}, m.err
}

// pair is a server that leads in term 7, and one that knows it.
func pair(t *testing.T) (*mover, *Peers) {
	t.Helper()
	m := &mover{}
	p := &Peers{Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Scheme: "http",
		Token: func() ([]byte, error) { return []byte("a token of sixteen bytes"), nil }}
	server := httptest.NewServer(p.Handler(m))
	t.Cleanup(server.Close)
	p.Registry = NewRegistry(nil, "me & you", "", discard)
	p.Registry.leader = leader{ID: "it", Term: 7}
	p.Registry.seen["it"] = &seen{Member: Member{ID: "it", Address: server.Listener.Addr().String()}}
	return m, p
}

// TestPeers: what is told arrives, and errors that are decided on stay what they are.
func TestPeers(t *testing.T) {
	m, p := pair(t)
	l := p.Leader()
	if l.Term() != 7 {
		t.Errorf("term %d", l.Term())
	}
	telling := roster.Telling{Seq: 3, Connected: []definition.Node{{ID: "e1", Cluster: "edge", Labels: map[string]string{"a": "b"}}}, Gone: []string{"e2"}}
	if ok, err := l.Hear(t.Context(), "me & you", telling); !ok || err != nil || m.from != "me & you" || !reflect.DeepEqual(m.heard, []roster.Telling{telling}) {
		t.Errorf("%v %v: %q told %v", ok, err, m.from, m.heard)
	}
	if ok, err := l.Hear(t.Context(), "a", roster.Telling{Anew: true}); ok || err != nil {
		t.Errorf("%v %v, want that it tells anew", ok, err)
	}
	c := rollout.Command{Verb: rollout.Pause, ID: "x", By: "ann"}
	if err := l.Do(t.Context(), c); err != nil || m.did != c {
		t.Errorf("%v: did %v", err, m.did)
	}
	if s, err := l.Status(t.Context()); err != nil || s.Stalled != "so it is" {
		t.Errorf("%v: %v", err, s)
	}
	for _, is := range []error{rollout.ErrUnknown, rollout.ErrNot, driver.ErrNotLeader} {
		m.err = fmt.Errorf("x is not so: %w", is)
		if err := l.Do(t.Context(), c); !errors.Is(err, is) || err.Error() != m.err.Error() {
			t.Errorf("%v, want %v", err, m.err)
		}
	}
	p.Registry.leader.Term = 8
	if _, err := p.Leader().Hear(t.Context(), "a", telling); !errors.Is(err, driver.ErrNotLeader) {
		t.Errorf("another term: %v", err)
	}
}

// TestPeersApart: without the token nobody tells anything, or is told.
func TestPeersApart(t *testing.T) {
	m, p := pair(t)
	other := *p
	other.Token = func() ([]byte, error) { return []byte("another token of theirs"), nil }
	l := other.Leader()
	_, errHear := l.Hear(t.Context(), "a", roster.Telling{Seq: 1})
	_, errStatus := l.Status(t.Context())
	for _, err := range []error{errHear, errStatus, l.Do(t.Context(), rollout.Command{Verb: rollout.Stop})} {
		if err == nil || !strings.Contains(err.Error(), "which know its token") {
			t.Errorf("%v", err)
		}
	}
	if len(m.heard) > 0 || m.did != (rollout.Command{}) {
		t.Errorf("heard %v, did %v", m.heard, m.did)
	}
	p.Registry.leader = leader{}
	if err := p.Leader().Do(t.Context(), rollout.Command{}); !errors.Is(err, errNobody) {
		t.Errorf("nobody leads: %v", err)
	}
	p.Registry.leader = leader{ID: "me & you", Term: 9}
	p.Registry.seen["me & you"] = &seen{Member: p.Registry.own}
	if err := p.Leader().Do(t.Context(), rollout.Command{}); !errors.Is(err, errNobody) {
		t.Errorf("it led itself: %v", err)
	}
}
