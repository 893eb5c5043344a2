// Package etcd implements state.Store in etcd, which many processes may share.
//
// Start with [New]. Entries are stored under a prefix, by their keys. Keys below the prefix
// that begin with a dot are the store's own: leaders, and batches that do not fit in one
// etcd transaction. Such a batch is first stored in parts, then committed by one small
// transaction. From then on, whichever process comes next finishes it, so that no reader
// sees a part of it.
//
// A Store keeps no copy of what is in etcd. While etcd is unavailable, each call fails when
// its timeout expires; Watch and Lead wait.
package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
	"wasmxds/state/packed"
)

// Store implements state.Store. It is safe for concurrent use.
type Store struct {
	dial   Dial
	prefix string
	lease  time.Duration
	log    *slog.Logger
	owner  string // see Own
	led    atomic.Bool

	mu     sync.Mutex
	client *clientv3.Client // nil until the first call
}

// Dial returns a client of etcd. It may fail while etcd is unavailable, and is then called
// again.
type Dial func(context.Context) (*clientv3.Client, error)

// Keys below the prefix that are not entries.
const (
	applyKey   = ".apply"   // a batch that is committed but not complete: its ID and the number of its parts
	batchKeys  = ".batch/"  // ID/PART: the operations of one part
	leaderKeys = ".leader/" // NAME/LEASE: the leader and the candidates
	idKey      = ".id"      // see ID
)

const (
	// callTime is the timeout of one call. A store may be slow.
	callTime = 10 * time.Second
	// page is how many entries one request reads.
	page = 500
)

// New returns the store under a prefix, such as "/wasmxds/state/". Call Close once no other
// call is in progress.
func New(dial Dial, prefix string, log *slog.Logger) *Store {
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &Store{dial: dial, prefix: prefix, lease: leaseTime, log: log}
}

// Own sets the identity of this process, which no other running process shares. Call it
// before Lead. A process that was killed while it led then need not wait for its own lease
// to expire.
func (s *Store) Own(id string) { s.owner = id }

// conn returns the client, which the first call creates.
func (s *Store) conn(ctx context.Context) (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		client, err := s.dial(context.WithoutCancel(ctx)) // it is for later calls, too
		if err != nil {
			return nil, err
		}
		s.client = client
	}
	return s.client, nil
}

// Close ends the connection to etcd.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

func (s *Store) at(key string) string { return s.prefix + key }

func (s *Store) retry() state.Retry {
	return state.Retry{In: "etcd", Longest: callTime, Log: s.log}
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	e, err := s.get(ctx, key)
	if err != nil {
		return state.Entry{}, fmt.Errorf("get %s: %w", key, err)
	}
	return e, nil
}

func (s *Store) get(ctx context.Context, key string) (state.Entry, error) {
	r, _, err := s.read(ctx, clientv3.OpGet(s.at(key)))
	if err != nil {
		return state.Entry{}, err
	}
	if len(r.Kvs) == 0 {
		return state.Entry{}, state.ErrNotFound
	}
	return s.entry(r.Kvs[0])
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	for {
		all, at, err := s.list(ctx, prefix)
		if errors.Is(err, rpctypes.ErrCompacted) {
			continue // between two pages
		}
		if err != nil {
			return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
		}
		return all, at, nil
	}
}

// list reads all entries of one revision, page by page.
func (s *Store) list(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	from, end := s.at(prefix), clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.at(prefix)))
	var all []state.Entry
	var at int64
	for {
		r, now, err := s.read(ctx, clientv3.OpGet(from, end, clientv3.WithLimit(page), clientv3.WithRev(at)))
		if err != nil {
			return nil, 0, err
		}
		if at == 0 {
			at = now
		}
		for _, kv := range r.Kvs {
			if s.own(kv) {
				continue
			}
			e, err := s.entry(kv)
			if err != nil {
				s.log.Error("an entry of the state can't be read and is ignored", "key", string(kv.Key), "error", err)
				continue
			}
			all = append(all, e)
		}
		if !r.More {
			return all, state.Revision(at), nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

// own reports whether a key is the store's own.
func (s *Store) own(kv *mvccpb.KeyValue) bool {
	return len(kv.Key) > len(s.prefix) && kv.Key[len(s.prefix)] == '.'
}

// entry decodes an entry as etcd stores it.
func (s *Store) entry(kv *mvccpb.KeyValue) (state.Entry, error) {
	value, err := packed.Unpack(kv.Value)
	if err != nil {
		return state.Entry{}, err
	}
	return state.Entry{Key: string(kv.Key[len(s.prefix):]), Value: value, Revision: state.Revision(kv.ModRevision)}, nil
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
	parts, err := pack([]state.Op{op})
	if err != nil {
		return 0, err
	}
	still := clientv3.Compare(clientv3.ModRevision(s.at(op.Key)), "=", int64(was))
	r, err := s.do(ctx, in, []clientv3.Cmp{still}, s.ops(parts[0])...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	return state.Revision(r.Header.Revision), nil
}

// Apply implements state.Store.
func (s *Store) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return s.apply(ctx, ops, nil)
}

func (s *Store) apply(ctx context.Context, ops []state.Op, in *term, when ...clientv3.Cmp) (state.Revision, error) {
	parts, err := pack(ops)
	if err != nil {
		return 0, err
	}
	var at int64
	if len(parts) > 1 {
		at, err = s.applyParts(ctx, parts, in, when)
	} else {
		var r *clientv3.TxnResponse
		if r, err = s.do(ctx, in, when, s.ops(slices.Concat(parts...))...); err == nil {
			at = r.Header.Revision
		}
	}
	if err != nil {
		return 0, fmt.Errorf("write %d entries: %w", len(ops), err)
	}
	return state.Revision(at), nil
}

// ApplySince is like Apply, but returns state.ErrConflict if an entry under prefix was
// written after revision at. Removed entries do not count.
func (s *Store) ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error) {
	return s.apply(ctx, ops, nil, clientv3.Compare(clientv3.ModRevision(s.at(prefix)), "<", int64(at)+1).WithPrefix())
}

// ops returns the etcd operations of a part.
func (s *Store) ops(part []state.Op) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(part))
	for _, op := range part {
		if op.Remove {
			ops = append(ops, clientv3.OpDelete(s.at(op.Key)))
		} else {
			ops = append(ops, clientv3.OpPut(s.at(op.Key), string(op.Value)))
		}
	}
	return ops
}

// ID returns an identifier of the stored data and the current revision. Another etcd has
// another identifier, and so has this one after it has lost all data. The first caller
// creates it.
func (s *Store) ID(ctx context.Context) (string, state.Revision, error) {
	id := rand.Text()
	r, err := s.txn(ctx, []clientv3.Cmp{missing(s.at(idKey))},
		[]clientv3.Op{clientv3.OpPut(s.at(idKey), id)}, []clientv3.Op{clientv3.OpGet(s.at(idKey))})
	if err != nil {
		return "", 0, fmt.Errorf("read the id of the state: %w", err)
	}
	if !r.Succeeded {
		id = string(r.Responses[0].GetResponseRange().Kvs[0].Value)
	}
	return id, state.Revision(r.Header.Revision), nil
}
