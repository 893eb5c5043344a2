// Package keypair reads the certificates, keys and client authorities of
// listeners, follows their changes, and provides those that Envoys can be sent.
//
// Start with [New]. [Store.Want] sets which are needed, and [Store.Run] follows
// them. A pair stays in use until there is a complete new one: a certificate
// that arrives before its key, or is half written, changes nothing. Private
// keys are in no error, and are stored only on this machine.
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
	Roots files.Roots // folders that files may be in
	// Follow calls tell with the content of a Secret, NAMESPACE/NAME, or why it
	// isn't known, whenever that changes, until ctx ends. If Follow is nil,
	// there is no cluster.
	Follow func(ctx context.Context, name string, tell func(map[string][]byte, error))
	// State stores the last good pairs, on this machine only. If it is nil,
	// they are not stored.
	State *state.Writer
	// Every is the interval at which files are read; default one second.
	Every time.Duration
	Log   *slog.Logger
}

// Store has the pairs of listeners. It is safe for concurrent use.
type Store struct {
	Options
	kept state.View
	old  map[string][]byte // stored pairs, by key

	mu    sync.Mutex
	known map[definition.TLS]*known
	first bool // Want has not been called yet

	followed map[string]*followed // Secrets, by name

	telling sync.Mutex // held while changed of Run is called
	fresh   chan struct{}
}

// known is the state of one listener's TLS.
type known struct {
	pair  *resource.Pair // never nil
	seen  material       // at the last read
	used  material       // from which pair was made, or that was rejected
	looks int
}

// New returns a Store. It reads the stored pairs.
func New(ctx context.Context, o Options) *Store {
	o.Every = cmp.Or(o.Every, time.Second)
	s := &Store{Options: o, kept: o.State.View("keypairs/"), old: map[string][]byte{}, known: map[definition.TLS]*known{}, first: true, followed: map[string]*followed{}, fresh: make(chan struct{}, 1)}
	for _, e := range s.kept.All(ctx) {
		s.old[e.Key] = e.Value
	}
	return s
}

// keep is the stored form of a pair.
type keep struct{ Cert, Key, ClientCA []byte }

// keyOf returns the key of a stored pair.
func keyOf(t definition.TLS) string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // can't happen: strings can be marshalled
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Want sets which listeners need pairs from now on, and returns the current
// pair of each. It reads files that were not needed before immediately.
func (s *Store) Want(all map[*definition.Listener]definition.TLS) map[*definition.Listener]*resource.Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wanted := make(map[definition.TLS]*known, len(all))
	pairs := make(map[*definition.Listener]*resource.Pair, len(all))
	for l, t := range all {
		k := cmp.Or(wanted[t], s.known[t]) // several listeners may have the same TLS
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
	if s.first { // other stored pairs are no longer needed
		for key := range s.old {
			s.kept.Remove(key)
		}
		s.first, s.old = false, nil
	}
	s.known = wanted
	return pairs
}

// begin adds a TLS that was not needed before.
func (s *Store) begin(t definition.TLS, now time.Time) *known {
	k := &known{pair: &resource.Pair{Trouble: "is not read yet"}}
	key := keyOf(t)
	var old keep
	if b, ok := s.old[key]; ok && json.Unmarshal(b, &old) == nil {
		// Envoys may have it, so it stays in use even if it has become invalid.
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

// maxFile is the maximum size of a file in bytes.
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
			return material{}, fmt.Errorf("%s: %s is outside of %v; --tls-root names more folders", f.field, filepath.ToSlash(f.path), s.Roots)
		}
		if err != nil {
			return material{}, fmt.Errorf("%s: %w", f.field, err)
		}
		*f.into = b
	}
	return m, nil
}

// take uses what was read, if it is valid and has not changed since the
// previous read: while files are being written, each part may look valid. It
// reports whether this changes the pair.
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

// Run follows everything that is needed until ctx ends, and calls changed when
// a pair differs from what Want has returned.
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

// again calls do repeatedly, after the wait that it returns or a signal on now,
// until ctx ends.
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

// lookAtFiles reports whether any pair has changed, and whether files are being
// written.
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
