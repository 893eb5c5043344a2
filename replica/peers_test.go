package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
	"wasmxds/state"
)

// mover returns the answers that a test sets.
type mover struct {
	err   error
	heard []roster.Telling
	from  string
	did   rollout.Command
}

func (m *mover) Hear(_ context.Context, term uint64, from string, t roster.Telling) (driver.Answer, error) {
	if term != 7 {
		return driver.Answer{}, driver.ErrNotLeader
	}
	m.heard, m.from = append(m.heard, t), from
	return driver.Answer{Known: !t.Anew, Ahead: t.Anew}, m.err
}

func (m *mover) Do(_ context.Context, c rollout.Command) error { m.did = c; return m.err }

func (m *mover) Status(context.Context) (rollout.Status, error) {
	return rollout.Status{Stalled: "so it is"}, m.err
}

// serverOf runs a replica of a store, which listens and is registered.
func serverOf(t *testing.T, store state.Store, id string, prepare func(*Peers)) *Peers {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPeers(NewRegistry(store, Member{ID: id, Address: l.Addr().String(), Key: key.Hash()}, discard), key, discard)
	if prepare != nil {
		prepare(p)
	}
	if err := errors.Join(p.Registry.show(t.Context()), p.Registry.look(t.Context())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Serve(ctx, l, 256); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return p
}

// pair runs a replica that leads in term 7, and one that knows it.
func pair(t *testing.T) (m *mover, leads, follows *Peers) {
	t.Helper()
	store := opened(t)
	m = &mover{}
	leads = serverOf(t, store, "it", func(p *Peers) { p.Moves(m) })
	follows = serverOf(t, store, "me & you", nil)
	for _, p := range []*Peers{leads, follows} {
		p.Registry.leader = leader{ID: "it", Term: 7}
	}
	return m, leads, follows
}

// TestPeers checks that a report arrives, even from a replica that wasn't known yet, and
// that errors that callers decide on keep their identity.
func TestPeers(t *testing.T) {
	m, _, p := pair(t)
	l := p.Leader()
	if l.Term() != 7 {
		t.Errorf("term %d", l.Term())
	}
	telling := roster.Telling{Seq: 3, Connected: []definition.Node{{ID: "e1", Cluster: "edge", Labels: map[string]string{"a": "b"}}}, Gone: []string{"e2"}}
	if a, err := l.Hear(t.Context(), telling); a != (driver.Answer{Known: true}) || err != nil || m.from != "me & you" || !reflect.DeepEqual(m.heard, []roster.Telling{telling}) {
		t.Errorf("%v %v: %q told %v", a, err, m.from, m.heard)
	}
	if a, err := l.Hear(t.Context(), roster.Telling{Anew: true}); a != (driver.Answer{Ahead: true}) || err != nil {
		t.Errorf("%v %v, want that it tells anew", a, err)
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
	if _, err := p.Leader().Hear(t.Context(), telling); !errors.Is(err, driver.ErrNotLeader) {
		t.Errorf("another term: %v", err)
	}
	p.Registry.leader = leader{}
	if err := p.Leader().Do(t.Context(), c); !errors.Is(err, errNobody) {
		t.Errorf("nobody leads: %v", err)
	}
	p.Registry.leader = leader{ID: "me & you", Term: 9}
	if err := p.Leader().Do(t.Context(), c); !errors.Is(err, errNobody) {
		t.Errorf("it led itself: %v", err)
	}
}

// TestAway checks that a replica that accepts connections but doesn't answer isn't away,
// and that one where nothing listens is.
func TestAway(t *testing.T) {
	_, leads, follows := pair(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, away := range []bool{false, true} {
		leads.Registry.Tell(func(own *Member) { own.Address = silent.Addr().String() })
		if err := errors.Join(leads.Registry.show(t.Context()), follows.Registry.look(t.Context())); err != nil {
			t.Fatal(err)
		}
		follows.Registry.leader = leader{ID: "it", Term: 7}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := follows.Leader().Hear(ctx, roster.Telling{})
		cancel()
		if err == nil || errors.Is(err, driver.ErrAway) != away {
			t.Errorf("away is %v: %v", !away, err)
		}
		_ = silent.Close()
	}
}

// TestCallAll checks that all live replicas are called, that unreachable ones don't delay
// the other answers, and that another server at the address of a former replica isn't taken
// for it.
func TestCallAll(t *testing.T) {
	store := opened(t)
	names := func(p *Peers) {
		On(p, "/peer/v1/name", func(_ context.Context, from Member, greeting string) (string, error) {
			return greeting + " " + from.ID + ", I am " + p.Registry.ID(), nil
		})
	}
	serverOf(t, store, "b", names)
	c := serverOf(t, store, "c", names)
	a := serverOf(t, store, "a", names)
	ask := func() map[string]string {
		got := map[string]string{}
		for _, answer := range CallAll[string, string](t.Context(), a, "/peer/v1/name", "hello") {
			if answer.Err != nil {
				got[answer.Of.ID] = "error"
			} else {
				got[answer.Of.ID] = answer.Is
			}
		}
		return got
	}
	if got, want := ask(), map[string]string{"b": "hello a, I am b", "c": "hello a, I am c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	moved := a.Registry.seen["b"]
	moved.Address, moved.Key = c.Registry.own.Address, "another" // no earlier connection is to it
	if got, want := ask(), map[string]string{"b": "error", "c": "hello a, I am c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAsk checks that the response is passed on unchanged.
func TestAsk(t *testing.T) {
	store := opened(t)
	b := serverOf(t, store, "b", func(p *Peers) {
		p.Handle("GET /peer/v1/modules/{sha256}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, From(r.Context()).ID+" asks for "+r.PathValue("sha256"))
		}))
	})
	a := serverOf(t, store, "a", nil)
	resp, err := a.Ask(t.Context(), b.Registry.own, "/peer/v1/modules/2c26")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "a asks for 2c26" {
		t.Errorf("%q, %v", body, err)
	}
	none, err := a.Ask(t.Context(), b.Registry.own, "/peer/v1/other")
	if err != nil {
		t.Fatal(err)
	}
	defer none.Body.Close()
	if none.StatusCode != http.StatusNotFound {
		t.Error(none.Status)
	}
}

// TestStrangers checks that a server that isn't registered, or is no longer, is rejected,
// whatever certificate it presents.
func TestStrangers(t *testing.T) {
	m, leads, follows := pair(t)
	stranger := *follows
	var err error
	if stranger.key, err = NewKey(); err != nil {
		t.Fatal(err)
	}
	stranger.client = &http.Client{Transport: &http.Transport{DialTLSContext: stranger.dial, DisableKeepAlives: true}}
	if err := stranger.Leader().Do(t.Context(), rollout.Command{Verb: rollout.Stop}); err == nil {
		t.Error("a stranger may stop changes")
	}
	for name, config := range map[string]*tls.Config{
		"nothing":            {InsecureSkipVerify: true},
		"an older TLS":       {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{follows.key.certificate}},
		"another's, no key":  {InsecureSkipVerify: true, Certificates: []tls.Certificate{{Certificate: follows.key.certificate.Certificate, PrivateKey: stranger.key.certificate.PrivateKey}}},
		"one nobody's known": {InsecureSkipVerify: true, Certificates: []tls.Certificate{stranger.key.certificate}},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := client.Get("https://" + leads.Registry.own.Address + statusPath)
		if err == nil {
			resp.Body.Close()
			t.Errorf("who shows %s is answered: %s", name, resp.Status)
		}
	}
	if m.did != (rollout.Command{}) {
		t.Errorf("did %v", m.did)
	}
	if err := follows.Leader().Do(t.Context(), rollout.Command{Verb: rollout.Stop}); err != nil {
		t.Fatal(err)
	}
	leads.Registry.mu.Lock()
	delete(leads.Registry.seen, "me & you")
	leads.Registry.mu.Unlock()
	m.did = rollout.Command{}
	if err := follows.Leader().Do(t.Context(), rollout.Command{Verb: rollout.Stop}); err == nil || m.did != (rollout.Command{}) {
		t.Errorf("%v: one that is no more did %v", err, m.did)
	}
}

// counting counts how often the replicas are listed.
type counting struct {
	state.Store
	mu    sync.Mutex
	lists int
}

func (c *counting) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	c.mu.Lock()
	c.lists++
	c.mu.Unlock()
	return c.Store.List(ctx, prefix)
}

// TestManyStrangers checks that many strangers cause few reads of the store, and don't keep
// replicas from being answered.
func TestManyStrangers(t *testing.T) {
	_, leads, follows := pair(t)
	counted := &counting{Store: leads.Registry.store}
	leads.Registry.store = counted
	strangers, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{strangers.certificate}}
	began := time.Now()
	var silent []net.Conn
	for range 512 { // they send nothing
		c, err := net.Dial("tcp", leads.Registry.own.Address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			c, err := tls.Dial("tcp", leads.Registry.own.Address, config)
			if err == nil {
				_, err = c.Read(make([]byte, 1))
				c.Close()
			}
			if err == nil {
				t.Error("a stranger is answered")
			}
		})
	}
	asking.Wait()
	if _, err := follows.Leader().Status(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range silent {
		c.Close()
	}
	if most := 2 + int(time.Since(began)/askAgainAfter); counted.lists > most {
		t.Errorf("the store was asked %d times in %v", counted.lists, time.Since(began))
	}
}
