// Package keypair reads the certificates, keys and client authorities that listeners
// name, again and again, and gives those that Envoys can be sent.
//
// Start with [New]; [Store.Want] says which are needed, and [Store.Run] looks at them.
// What is in use goes on until there is another that is whole: a certificate that is
// there before its key, or is half written, changes nothing. Private keys are in no
// error, and on the disk of this machine alone.
package keypair

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/resource"
	"wasmxds/state"
)

// Options are for New.
type Options struct {
	Roots files.Roots // that files may be in
	// Follow tells what is in a Secret, NAMESPACE/NAME, or why that isn't known, whenever
	// that changes, until ctx ends; nil: there is no cluster.
	Follow func(ctx context.Context, name string, tell func(map[string][]byte, error))
	// State keeps what was good last, on this machine alone; nil: it isn't kept.
	State *state.Writer
	// Every is how often files are looked at, a second unless given.
	Every time.Duration
	Log   *slog.Logger
}

// Store has what listeners are served by. Safe for concurrent use.
type Store struct {
	Options
	kept state.View
	old  map[string][]byte // that was kept, by key

	mu    sync.Mutex
	known map[definition.TLS]*known
	first bool // nothing was wanted yet

	followed map[string]*followed // Secrets, by name

	telling sync.Mutex // held while Run's caller is told
	fresh   chan struct{}
}

// known is what is known of one.
type known struct {
	pair  *resource.Pair // never nil
	seen  material       // at the last look
	used  material       // of which pair was made, or found to be wrong
	looks int
}

// New makes a Store. It reads what was kept.
func New(ctx context.Context, o Options) *Store {
	o.Every = cmp.Or(o.Every, time.Second)
	s := &Store{Options: o, kept: o.State.View("keypairs/"), old: map[string][]byte{}, known: map[definition.TLS]*known{}, first: true, followed: map[string]*followed{}, fresh: make(chan struct{}, 1)}
	for _, e := range s.kept.All(ctx) {
		s.old[e.Key] = e.Value
	}
	return s
}

// keep is how a pair is written down.
type keep struct{ Cert, Key, ClientCA []byte }

// keyOf names what is written down.
func keyOf(t definition.TLS) string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // texts can be marshalled
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Want says which listeners need them from now on, and gives what is known of each
// one's. Files that were not needed before are looked at at once.
func (s *Store) Want(all map[*definition.Listener]definition.TLS) map[*definition.Listener]*resource.Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wanted := make(map[definition.TLS]*known, len(all))
	pairs := make(map[*definition.Listener]*resource.Pair, len(all))
	for l, t := range all {
		k := cmp.Or(wanted[t], s.known[t]) // several listeners may have the same
		if k == nil {
			k = s.begin(t, now)
		}
		wanted[t], pairs[l] = k, k.pair
	}
	for t := range s.known {
		if wanted[t] == nil {
			s.kept.Remove(keyOf(t))
		}
	}
	if s.first { // what else was kept nobody needs any more
		for key := range s.old {
			s.kept.Remove(key)
		}
		s.first, s.old = false, nil
	}
	s.known = wanted
	return pairs
}

// begin takes up one that was not needed before.
func (s *Store) begin(t definition.TLS, now time.Time) *known {
	k := &known{pair: &resource.Pair{Trouble: "is not read yet"}}
	key := keyOf(t)
	var old keep
	if b, ok := s.old[key]; ok && json.Unmarshal(b, &old) == nil {
		// Envoys may have it, so it goes on whatever became of it.
		k.pair = &resource.Pair{Chain: old.Cert, Key: old.Key, ClientCA: old.ClientCA, Warning: warning(old.Cert, now)}
	}
	delete(s.old, key)
	if t.Secret == "" {
		m, err := s.read(t)
		s.take(t, k, m, err, now)
	} else {
		signal(s.fresh)
	}
	return k
}

// maxFile is how many bytes a file may have.
const maxFile = 1 << 20

func (s *Store) read(t definition.TLS) (m material, err error) {
	for _, f := range []struct {
		field, path string
		into        *[]byte
	}{{"cert", t.Cert, &m.cert}, {"key", t.Key, &m.key}, {"clientCA", t.ClientCA, &m.clientCA}} {
		if f.path == "" {
			continue
		}
		b, err := s.Roots.Read(t.Path(f.path), maxFile)
		if errors.Is(err, files.ErrOutside) {
			return material{}, fmt.Errorf("%s: %s is, or leads, outside of %v; --tls-root names more folders", f.field, filepath.ToSlash(f.path), s.Roots)
		}
		if err != nil {
			return material{}, fmt.Errorf("%s: %w", f.field, err)
		}
		*f.into = b
	}
	return m, nil
}

// take has what was read used, if it is good and was left alone: of files that are
// being written each part may be good by itself. It says whether that changes
// anything.
func (s *Store) take(t definition.TLS, k *known, m material, err error, now time.Time) bool {
	was := *k.pair
	settled := k.looks == 0 || m.equal(k.seen)
	k.seen, k.looks = m, k.looks+1
	made := was
	switch {
	case err != nil:
		made.Trouble = err.Error()
	case !settled:
		return false
	case m.equal(k.used) && k.looks > 1 && was.Trouble == "":
	default:
		good, wrong := check(m, t.Clients(), now)
		if wrong != nil {
			made.Trouble = wrong.Error()
			break
		}
		k.used, made = m, *good
		if !materialOf(made).equal(materialOf(was)) {
			s.kept.Put(keyOf(t), keep{made.Chain, made.Key, made.ClientCA})
			if s.Log != nil {
				s.Log.Info("certificate of a listener", "cert", cmp.Or(t.Cert, t.Secret), "renewed", len(was.Chain) > 0)
			}
		}
	}
	made.Warning = warning(made.Chain, now)
	if made.Trouble == was.Trouble && made.Warning == was.Warning && materialOf(made).equal(materialOf(was)) {
		return false
	}
	k.pair = &made
	return true
}

// Run looks at all that is needed until ctx ends, and calls changed when something is
// another than Want has said.
func (s *Store) Run(ctx context.Context, changed func()) error {
	var g errgroup.Group
	tell := func() {
		s.telling.Lock()
		defer s.telling.Unlock()
		changed()
	}
	g.Go(func() error {
		again(ctx, nil, func() time.Duration {
			changed, open := s.lookAtFiles()
			if changed {
				tell()
			}
			if open {
				return s.Every / 5
			}
			return s.Every
		})
		return nil
	})
	g.Go(func() error { s.follow(ctx, tell); return nil })
	return g.Wait()
}

// again does something over and over, each time when it has said, or now.
func again(ctx context.Context, now <-chan struct{}, do func() (wait time.Duration)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-now:
		}
		timer.Reset(do())
	}
}

// lookAtFiles says whether something is another than it was, and whether files are
// being written.
func (s *Store) lookAtFiles() (changed, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, k := range s.known {
		if t.Secret == "" {
			m, err := s.read(t)
			open = open || err == nil && !m.equal(k.seen)
			changed = s.take(t, k, m, err, time.Now()) || changed
		}
	}
	return changed, open
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
