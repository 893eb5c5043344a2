// Package kube implements state.Store in Secrets of a Kubernetes namespace, which many
// processes may share.
//
// Start with [New]. An API server has no transactions across objects, so everything in a
// store depends on one object, its head: every write is one update of that Secret, which
// the API server accepts only at the version that was read. The head contains the newest
// batches themselves, the terms of leaders, and the names of shards. Shards are Secrets
// with all older entries. Each is written once, under a new name, and has no effect until a
// head names it. So a batch of any size is applied completely or not at all, and a deposed
// leader finds a head that shows it.
//
// The store uses Secrets because definitions may contain passwords. It reads, writes and
// lists Secrets in its namespace, which had better contain no other Secrets.
//
// A Store keeps only the head and a few shards in memory. While the API server is
// unavailable, each call fails when its timeout expires; Watch and Lead wait.
package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/state"
	"wasmxds/state/packed"
)

// Store implements state.Store. It is safe for concurrent use.
type Store struct {
	secrets, leases dynamic.ResourceInterface
	namespace, name string
	lease           time.Duration
	log             *slog.Logger

	owner   string        // shared by all processes of one data directory; "": unknown
	writing chan struct{} // held while writing
	swept   bool          // shards that other processes left were removed; guarded by writing

	mu   sync.Mutex
	last *head               // newest known head; nil: none
	led  bool                // this process has led
	read map[string][]record // records of shards, which never change, by name
}

// New returns the store whose head is the Secret of this name. The names of its shards and
// Leases begin with it.
func New(config *rest.Config, namespace, name string, log *slog.Logger) (*Store, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server knows better what it can take
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	return &Store{
		secrets: client.Resource(secrets).Namespace(namespace), leases: client.Resource(leases).Namespace(namespace),
		namespace: namespace, name: name, lease: leaseTime, log: log, writing: make(chan struct{}, 1), read: map[string][]record{},
	}, nil
}

// Own sets the identity of this process, which stays the same after a restart and which no
// other process shares. The process may then take over a term that its predecessor left.
// Call it before Lead.
func (s *Store) Own(id string) { s.owner = id }

// Close does nothing: the whole process shares the connections.
func (s *Store) Close() error { return nil }

func (s *Store) retry() state.Retry {
	return state.Retry{In: "Kubernetes", Longest: callTime, Log: s.log}
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	var e state.Entry
	err := s.look(ctx, func(h *head) error {
		found, err := s.find(ctx, h, key)
		if err == nil {
			e, err = found.entry()
		}
		return err
	})
	if err != nil {
		return state.Entry{}, fmt.Errorf("get %s: %w", key, err)
	}
	return e, nil
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	var all []state.Entry
	var at state.Revision
	err := s.look(ctx, func(h *head) error {
		found, err := s.below(ctx, h, prefix)
		if err != nil {
			return err
		}
		all, at = make([]state.Entry, 0, len(found)), h.Revision
		for _, r := range found {
			e, err := r.entry()
			if err != nil {
				s.log.Error("an entry of the state can't be read and is ignored", "key", r.key, "error", err)
				continue
			}
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	return all, at, nil
}

// look reads by the current head. If a shard that the head names is missing because the
// head has changed meanwhile, it reads again.
func (s *Store) look(ctx context.Context, read func(*head) error) error {
	var before *head
	for {
		h, err := s.readHead(ctx)
		if err != nil {
			return err
		}
		err = read(h)
		if !errors.Is(err, errShardGone) || before != nil && before.version == h.version {
			return err
		}
		before = h
	}
}

// Put implements state.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, was state.Revision) (state.Revision, error) {
	return s.swap(ctx, state.Op{Key: key, Value: value}, was, nil)
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string, was state.Revision) error {
	_, err := s.swap(ctx, state.Op{Key: key, Remove: true}, was, nil)
	return err
}

// swap applies op if its entry is at revision was.
func (s *Store) swap(ctx context.Context, op state.Op, was state.Revision, in *term) (state.Revision, error) {
	at, err := s.write(ctx, []state.Op{op}, in, func(h *head) error {
		r, err := s.find(ctx, h, op.Key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		if r.at != was {
			return state.ErrConflict
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	return at, nil
}

// Apply implements state.Store.
func (s *Store) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return s.apply(ctx, ops, nil, nil)
}

func (s *Store) apply(ctx context.Context, ops []state.Op, in *term, when func(*head) error) (state.Revision, error) {
	at, err := s.write(ctx, ops, in, when)
	if err != nil {
		return 0, fmt.Errorf("write %d entries: %w", len(ops), err)
	}
	return at, nil
}

// ApplySince is like Apply, but returns state.ErrConflict if an entry under prefix was
// written after revision at. Removed entries do not count.
func (s *Store) ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error) {
	return s.apply(ctx, ops, nil, func(h *head) error {
		if h.Revision <= at {
			return nil
		}
		all, err := s.below(ctx, h, prefix)
		if err == nil && slices.ContainsFunc(all, func(r record) bool { return r.at > at }) {
			err = state.ErrConflict
		}
		return err
	})
}

// write writes ops if when allows it, and in the term in unless that is nil.
func (s *Store) write(ctx context.Context, ops []state.Op, in *term, when func(*head) error) (state.Revision, error) {
	ops, err := packed.Pack(ops, packed.Limit{Store: "Kubernetes", Bytes: maxEntry})
	if err != nil {
		return 0, err
	}
	for i := range ops {
		ops[i].Value = bytes.Clone(ops[i].Value) // the head keeps it
	}
	return s.commit(ctx, change{ops: ops, when: func(h *head) error {
		if in != nil {
			if err := in.lasts(h); err != nil {
				return err
			}
		}
		if when != nil {
			return when(h)
		}
		return nil
	}})
}

// ID returns an identifier of the stored data and the current revision. Another cluster has
// another identifier, and so has this one after it has lost all data. The first caller
// creates it.
func (s *Store) ID(ctx context.Context) (string, state.Revision, error) {
	for {
		h, err := s.readHead(ctx)
		if err == nil && !h.exists() {
			_, err = s.commit(ctx, change{when: func(*head) error { return nil }})
			if err == nil {
				continue
			}
		}
		if err != nil {
			return "", 0, fmt.Errorf("read the id of the state: %w", err)
		}
		return h.ID, h.Revision, nil
	}
}

// newName returns a name that was never used before.
func newName(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:16]) }
