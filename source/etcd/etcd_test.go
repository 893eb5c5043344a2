package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
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
	"wasmxds/source"
	"wasmxds/state/statetest/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// store is an etcd with a client that writes to it.
type store struct {
	t *testing.T
	*clientv3.Client
}

func newStore(t *testing.T, endpoints ...string) *store {
	t.Helper()
	client, err := (&etcdconn.Options{Endpoints: endpoints, Log: quiet}).Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &store{t, client}
}

// put writes documents one by one: name, content, ...; empty content deletes.
func (s *store) put(pairs ...string) {
	s.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		s.do(clientv3.OpPut("/w/definitions/"+pairs[i], pairs[i+1]))
	}
}

func (s *store) gone(name string) { s.t.Helper(); s.do(clientv3.OpDelete("/w/definitions/" + name)) }

// do writes in one transaction.
func (s *store) do(ops ...clientv3.Op) *clientv3.TxnResponse {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		resp, err := s.Txn(ctx).Then(ops...).Commit()
		if err == nil {
			return resp
		}
		if ctx.Err() != nil {
			s.t.Fatal(err)
		}
	}
}

// reader receives the batches of a Prefix.
type reader struct {
	t     *testing.T
	dials atomic.Int32

	mu      sync.Mutex
	docs    map[string]string
	trouble map[string]string
	unknown string
	leftOut string
	batches []source.Batch
}

// read runs a Prefix until the test ends.
func read(t *testing.T, p *Prefix, endpoints ...string) *reader {
	t.Helper()
	r := &reader{t: t, docs: map[string]string{}, trouble: map[string]string{}}
	options := etcdconn.Options{Endpoints: endpoints, Log: quiet}
	p.Prefix = "/w/"
	p.Dial = func(ctx context.Context) (*clientv3.Client, error) {
		r.dials.Add(1)
		return options.Dial(ctx)
	}
	if p.Log == nil {
		p.Log = quiet
	}
	if p.Probe == 0 {
		p.Probe = 200 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	up := make(chan source.Batch)
	var ended sync.WaitGroup
	ended.Go(func() {
		defer close(up)
		if err := p.Run(ctx, up); err != nil {
			t.Error(err)
		}
	})
	ended.Go(func() {
		for b := range up {
			r.take(b)
		}
	})
	t.Cleanup(func() { cancel(); ended.Wait() })
	return r
}

func (r *reader) take(b source.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
	if b.Whole {
		r.unknown, r.leftOut = "", ""
		if len(b.Unknown) > 0 {
			r.unknown = b.Unknown[0].Problem.Message
		} else {
			clear(r.docs)
			clear(r.trouble)
		}
		if b.LeftOut != nil {
			r.leftOut = b.LeftOut.Message
		}
	}
	for _, d := range b.Docs {
		delete(r.docs, d.Key.Name)
		delete(r.trouble, d.Key.Name)
		switch {
		case d.Gone:
		case d.Trouble != nil:
			r.trouble[d.Key.Name] = d.Trouble.Error()
		default:
			r.docs[d.Key.Name] = string(d.Data)
		}
	}
}

// has returns the current documents: name=content, by name.
func (r *reader) has() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.docs)) {
		all = append(all, name+"="+r.docs[name])
	}
	return strings.Join(all, " ")
}

// until waits until has returns want.
func (r *reader) until(want string) {
	r.t.Helper()
	r.wait(func() error {
		if got := r.has(); got != want {
			return fmt.Errorf("has %q, want %q", got, want)
		}
		return nil
	})
}

// known waits until the documents are known, or unknown.
func (r *reader) known(want bool) {
	r.t.Helper()
	r.wait(func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.batches) == 0 || (r.unknown == "") != want {
			return fmt.Errorf("unknown %q after %d batches, want known %v", r.unknown, len(r.batches), want)
		}
		return nil
	})
}

func (r *reader) wait(check func() error) {
	r.t.Helper()
	if err := harness.Poll(context.Background(), time.Minute, check); err != nil {
		r.t.Fatal(err)
	}
}

func proxy(t *testing.T, target string) *harness.Proxy {
	t.Helper()
	p, err := harness.StartProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestDocuments(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := newStore(t, c.Endpoints()...)
	s.put("a", "1", "edge/b", "2", "empty", "", "large", strings.Repeat("x", 2000), "\n", "odd", "", "no name")
	s.do(clientv3.OpPut("/w/labels/a", "no document"), clientv3.OpPut("/w/definitionsx", "neither"))
	r := read(t, &Prefix{MaxSize: 1000}, c.Endpoints()...)
	r.until("a=1 edge/b=2 empty=")
	r.mu.Lock()
	told := strings.Join(slices.Sorted(maps.Values(r.trouble)), "; ")
	r.mu.Unlock()
	for _, want := range []string{"etcd large: can't be read: larger than 1000 bytes", `etcd "\n"…`, "characters that can't be seen", "etcd (no name): the key ends"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told: %s", want, told)
		}
	}
	s.put("a", "10", "large", "small")
	r.until("a=10 edge/b=2 empty= large=small")
	s.gone("a")
	s.gone("edge/b")
	r.until("empty= large=small")

	// What is written together is sent together.
	s.do(clientv3.OpPut("/w/definitions/c", "3"), clientv3.OpPut("/w/definitions/d", "4"), clientv3.OpDelete("/w/definitions/large"))
	r.until("c=3 d=4 empty=")
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.batches[len(r.batches)-1]
	if last.Whole || len(last.Docs) != 3 || last.Changed.IsZero() {
		t.Errorf("last batch %+v", last)
	}
	times := 0 // how often the document that never changed was sent
	for _, b := range r.batches {
		for _, d := range b.Docs {
			if d.Key.Name == "empty" {
				times++
			}
		}
	}
	if times != 1 {
		t.Errorf("a document was sent %d times", times)
	}
	for _, b := range r.batches[1:] {
		if b.Whole {
			t.Error("all was read again")
		}
	}
}

// TestManyDocuments reads several pages, up to the maximum number.
func TestManyDocuments(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := newStore(t, c.Endpoints()...)
	var want []string
	for i := range 3*page + 1 {
		name := fmt.Sprintf("d%04d", i)
		s.put(name, "x")
		want = append(want, name+"=x")
	}
	all := read(t, &Prefix{}, c.Endpoints()...)
	all.until(strings.Join(want, " "))

	some := read(t, &Prefix{MaxDocuments: 2*page + 1}, c.Endpoints()...)
	leftOut := func(want string) {
		t.Helper()
		some.wait(func() error {
			some.mu.Lock()
			defer some.mu.Unlock()
			if some.leftOut != want {
				return fmt.Errorf("left out: %q, want %q", some.leftOut, want)
			}
			return nil
		})
	}
	leftOut("64 documents are ignored: the limit is 129")
	some.until(strings.Join(want[:2*page+1], " "))
	s.put("e", "x")
	leftOut("65 documents are ignored: the limit is 129")
	s.do(clientv3.OpDelete("/w/definitions/d00", clientv3.WithPrefix()))
	leftOut("")
	some.until(strings.Join(want[100:], " ") + " e=x")
}

// TestCompacted checks that changes while etcd was unreachable are found after
// a compaction.
func TestCompacted(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := newStore(t, c.Endpoints()...)
	s.put("a", "1", "b", "2")
	p := proxy(t, c.Members[0].Address())
	r := read(t, &Prefix{Probe: time.Hour}, p.Address()) // the watch detects it
	r.until("a=1 b=2")
	p.Down()
	s.put("a", "10", "c", "3")
	s.gone("b")
	resp := s.do(clientv3.OpPut("/other", ""))
	if _, err := s.Compact(context.Background(), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	p.Up()
	r.until("a=10 c=3")
	s.put("d", "4")
	r.until("a=10 c=3 d=4")
}

// TestResumed checks that changes during a broken connection arrive afterwards,
// and nothing else is read again.
func TestResumed(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := newStore(t, c.Endpoints()...)
	s.put("a", "1", "b", "2")
	p := proxy(t, c.Members[0].Address())
	r := read(t, &Prefix{Probe: time.Hour}, p.Address())
	r.until("a=1 b=2")
	p.Down()
	s.put("c", "3")
	s.gone("b")
	p.Up()
	r.until("a=1 c=3")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.batches[1:] {
		if b.Whole {
			t.Error("all was read again")
		}
	}
}

// TestMembersKilled checks that one of three members may fail, and that without
// a majority the last known content stays and a problem is reported.
func TestMembersKilled(t *testing.T) {
	c := etcdtest.Start(t, 3)
	s := newStore(t, c.Endpoints()...)
	s.put("a", "1")
	r := read(t, &Prefix{Wait: 2 * time.Second}, c.Endpoints()...)
	r.until("a=1")
	c.Members[0].Kill()
	s.put("a", "2")
	r.until("a=2")
	c.Members[1].Kill()
	r.known(false)
	r.until("a=2")
	c.Members[0].Restart()
	s.put("a", "3", "b", "4")
	r.until("a=3 b=4")
	r.known(true)
	c.Members[1].Restart()
	c.Members[1].Ready()
	c.Members[2].Pause()
	s.put("a", "5")
	r.until("a=5 b=4")
	c.Members[2].Resume()
}

// TestAwayAtFirst checks that nothing is known until etcd can be reached.
func TestAwayAtFirst(t *testing.T) {
	c := etcdtest.Start(t, 1)
	newStore(t, c.Endpoints()...).put("a", "1")
	p := proxy(t, c.Members[0].Address())
	p.Down()
	var log strings.Builder
	lines := slog.New(slog.NewTextHandler(&log, nil))
	r := read(t, &Prefix{Log: lines, Wait: time.Second}, p.Address())
	r.known(false)
	if got := r.has(); got != "" {
		t.Errorf("has %q", got)
	}
	r.wait(func() error { // it retries
		if n := r.dials.Load(); n < 3 {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})
	p.Up()
	r.known(true)
	r.until("a=1")
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "etcd is back") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// TestSlow checks an etcd in which each request takes more than a second.
func TestSlow(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := newStore(t, c.Endpoints()...)
	s.put("a", "1")
	p := proxy(t, c.Members[0].Address())
	p.Delay(500*time.Millisecond, 500*time.Millisecond)
	r := read(t, &Prefix{Probe: time.Second}, p.Address())
	r.until("a=1")
	s.put("a", "2")
	r.until("a=2")
	r.known(true)
}

// TestAnother checks another etcd behind the same address, as after a restore
// from a backup, with an older revision.
func TestAnother(t *testing.T) {
	first, second := etcdtest.Start(t, 1), etcdtest.Start(t, 1)
	s := newStore(t, first.Endpoints()...)
	for i := range 20 {
		s.put("a", fmt.Sprint(i))
	}
	s.put("a", "1", "b", "2")
	newStore(t, second.Endpoints()...).put("a", "0")
	p := proxy(t, first.Members[0].Address())
	r := read(t, &Prefix{}, p.Address())
	r.until("a=1 b=2")
	p.Target(second.Members[0].Address())
	p.Cut()
	r.until("a=0")
}
