package module

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// peers have modules.
type peers struct {
	store *Store
	has   atomic.Pointer[map[string][]byte]
	asked atomic.Int64
}

func newPeers(s *Store, contents ...[]byte) *peers {
	p := &peers{store: s}
	p.give(contents...)
	return p
}

func (p *peers) give(contents ...[]byte) {
	has := map[string][]byte{}
	for _, c := range contents {
		has[sumOf(c)] = c
	}
	p.has.Store(&has)
}

func (p *peers) Get(_ context.Context, sha256 string) error {
	p.asked.Add(1)
	c, ok := (*p.has.Load())[sha256]
	if !ok {
		return fs.ErrNotExist
	}
	_, err := p.store.PutAs(sha256, bytes.NewReader(c), limit)
	return err
}

// TestPinnedFromPeers checks that a pinned module needs no origin if another
// server has it, but that a file on this machine is tried first.
func TestPinnedFromPeers(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, refuses(http.StatusServiceUnavailable))
	file := filepath.Join(t.TempDir(), "hello.wasm")
	for name, url := range map[string]string{"http": origin.URL, "file": "file://" + file} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t)
			p := newPeers(store)
			r := resolve(t, Options{Store: store, Peers: p, LookAt: 5 * time.Millisecond})
			r.set(pinned("hello", url, content))
			r.until(Failed, nil)
			p.give(content)
			r.until(Good, content)
		})
	}
	t.Run("there", func(t *testing.T) {
		if err := os.WriteFile(file, content, 0o666); err != nil {
			t.Fatal(err)
		}
		store := newStore(t)
		p := newPeers(store, content)
		r := resolve(t, Options{Store: store, Peers: p})
		r.set(pinned("hello", "file://"+file, content))
		r.until(Good, content)
		if n := p.asked.Load(); n != 0 {
			t.Errorf("peers were asked %d times", n)
		}
	})
}

// TestPeersKeepThePolicy checks that a module whose URL the policy denies is
// not fetched from other servers either.
func TestPeersKeepThePolicy(t *testing.T) {
	content := filter("x")
	store := newStore(t)
	p := newPeers(store, content)
	r := resolve(t, Options{Store: store, Peers: p, Policy: Policy{Schemes: []string{"https"}}})
	r.set(pinned("hello", "http://origin.example/hello.wasm", content))
	r.until(Failed, nil)
	if n := p.asked.Load(); n != 0 {
		t.Errorf("peers were asked %d times", n)
	}
}

// TestUnpinnedFromPeers checks that an empty disk without an origin gets the
// last good modules, and those that others need, from other servers.
func TestUnpinnedFromPeers(t *testing.T) {
	content, needed, other := filter("x"), filter("needed"), filter("of nobody")
	origin := newOrigin(t, gives(content))
	m := newMachine(t)
	first := m.start()
	first.set(wanted("hello", origin.URL))
	first.until(Good, content)
	m.end()
	m.end = func() {}
	origin.set(refuses(http.StatusServiceUnavailable))

	m.options.Store = newStore(t)
	p := newPeers(m.options.Store)
	m.options.Peers, m.options.LookAt = p, 5*time.Millisecond
	m.options.Needed = func() []string { return []string{sumOf(needed), "", "not a hash"} }
	r := m.start()
	r.set(wanted("hello", origin.URL))
	r.until(Failed, nil)
	p.give(content, needed, other)
	r.until(Failed, content) // it stays in use
	eventually(t, func() error {
		_, err := m.options.Store.Stat(sumOf(needed))
		return err
	})
	if _, err := m.options.Store.Stat(sumOf(other)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nobody needs: %v", err)
	}
}
