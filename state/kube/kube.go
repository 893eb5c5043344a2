// Package kube is a state.Store in Secrets of a Kubernetes namespace, which many
// processes may share.
//
// Start with [New]. An API server has no transactions over objects, so all of a
// store hangs on one of them, its head: every write is one update of that Secret,
// which the API server takes only at the version that was read. The head has the
// newest batches themselves, the terms of leaders, and the names of shards; these
// are Secrets with all that is older, are written once under a name of their own,
// and are nothing until a head names them. So a batch of any size has happened or
// not, and who was deposed finds a head that says so.
//
// Secrets, as definitions may have passwords in them. The store reads, writes and
// lists them in its namespace; where others' Secrets are, too, they had better not
// be those.
//
// A Store keeps no more than the head, and a few shards. While the API server is away each call fails
// when its time is over; a Watch and a Lead wait.
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

// Store is the store. It is safe for concurrent use.
type Store struct {
	secrets, leases dynamic.ResourceInterface
	namespace, name string
	lease           time.Duration
	log             *slog.Logger

	owner   string        // that processes of one data directory have; "": not known
	writing chan struct{} // held by who writes
	swept   bool          // what processes have left was removed; for who writes

	mu   sync.Mutex
	last *head               // newest one that is known; nil: none
	led  bool                // this process has led
	read map[string][]record // shards, which never change, by name
}

// New gives the store whose head is the Secret of this name. The names of its
// shards and Leases begin with it.
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

// Own says who this process is, at the next start as well, and that no other is it: a
// term that its predecessor left is its own to take. To be called before Lead.
func (s *Store) Own(id string) { s.owner = id }

// Close has nothing to do: connections are shared by all of the process.
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
				s.log.Error("an entry of the state can't be read; it counts as not there", "key", r.key, "error", err)
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

// look reads by the head of now. Where that has changed meanwhile, and what it named
// is gone, it looks again.
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

// swap does op where its entry is at revision was.
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

// ApplySince is Apply where no entry below prefix was written after a revision; else
// it gives state.ErrConflict. That one was removed counts for nothing.
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

// write writes ops where when allows it, in a term if one is given.
func (s *Store) write(ctx context.Context, ops []state.Op, in *term, when func(*head) error) (state.Revision, error) {
	ops, err := packed.Pack(ops, packed.Limit{Store: "Kubernetes", Bytes: maxEntry})
	if err != nil {
		return 0, err
	}
	for i := range ops {
		ops[i].Value = bytes.Clone(ops[i].Value) // it is kept
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

// ID names what is kept here, and gives the revision of now: another cluster, or this
// one after all was lost, has another. It is made by who asks first.
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

// newName is one that nothing has had before.
func newName(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:16]) }
