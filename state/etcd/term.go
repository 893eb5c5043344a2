package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
)

// leaseTime is how long the lease of a leader that does not renew it lasts. etcd measures
// it.
const leaseTime = 10 * time.Second

// term is a term of a leader: a key with a lease, the oldest of those under the name. A
// write in the term succeeds only while this very key exists.
type term struct {
	store   *Store
	key     string
	created int64
	done    context.Context
	lost    func() // ends the term
	running sync.WaitGroup
}

func (t *term) Number() uint64        { return uint64(t.created) }
func (t *term) Done() <-chan struct{} { return t.done.Done() }

// Store implements state.Term.
func (t *term) Store() state.Store {
	return state.Fenced{Store: t.store,
		Swap: func(ctx context.Context, op state.Op, was state.Revision) (state.Revision, error) {
			return t.store.swap(ctx, op, was, t)
		},
		Batch: func(ctx context.Context, ops []state.Op) (state.Revision, error) { return t.store.apply(ctx, ops, t) }}
}

// End implements state.Term. It returns when others may lead, or when etcd does not answer.
func (t *term) End() {
	t.lost()
	t.running.Wait()
}

// lasts is the condition that the term is not over.
func (t *term) lasts() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.created)
}

// is reports whether kvs is the key of the term.
func (t *term) is(kvs []*mvccpb.KeyValue) bool {
	return len(kvs) == 1 && kvs[0].CreateRevision == t.created
}

// Lead implements state.Store. It also waits while etcd is unavailable.
func (s *Store) Lead(ctx context.Context, name string) (state.Term, error) {
	return s.retry().Lead(ctx, name, s.lead)
}

// lead waits for a term, with one lease.
func (s *Store) lead(ctx context.Context, name string) (state.Term, error) {
	client, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	lease := clientv3.NewLease(client) // a Lease of its own: once it has failed, it stays failed
	first, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	granted, err := lease.Grant(first, int64(s.lease/time.Second))
	if err != nil {
		return nil, errors.Join(told(ctx, err), lease.Close())
	}
	done, lost := context.WithCancel(ctx)
	t := &term{store: s, done: done, lost: lost,
		key: s.at(leaderKeys) + url.PathEscape(name) + "/" + strconv.FormatInt(int64(granted.ID), 16)}
	alive, err := lease.KeepAlive(done, granted.ID)
	if err != nil {
		lost()
		return nil, errors.Join(told(ctx, err), lease.Close())
	}
	t.running.Go(func() { t.keep(alive, lease, granted.ID) })
	if err := t.begin(granted.ID); err != nil {
		t.End()
		return nil, err
	}
	return t, nil
}

// keep renews the lease until the term ends, and then revokes it.
func (t *term) keep(alive <-chan *clientv3.LeaseKeepAliveResponse, lease clientv3.Lease, id clientv3.LeaseID) {
	for range alive { // alive is closed with done, and when the lease expires
	}
	t.lost()
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := lease.Revoke(last, id); err != nil {
		t.store.log.Debug("a lease is not given back; it ends by itself", "error", err)
	}
	_ = lease.Close() // it has nothing that could fail
}

// begin waits until no earlier candidate leads.
func (t *term) begin(id clientv3.LeaseID) error {
	s := t.store
	r, err := s.txn(t.done, []clientv3.Cmp{missing(t.key)}, []clientv3.Op{clientv3.OpPut(t.key, s.owner, clientv3.WithLease(id))}, nil)
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return fmt.Errorf("%s is there already", t.key)
	}
	t.created = r.Header.Revision
	others := t.key[:len(t.key)-len(strconv.FormatInt(int64(id), 16))]
	for {
		before := clientv3.OpGet(others, append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(t.created-1))...)
		r, err := s.txn(t.done, nil, []clientv3.Op{before}, nil)
		if err != nil {
			return err
		}
		kvs := r.Responses[0].GetResponseRange().Kvs
		if len(kvs) > 0 && s.owner != "" && string(kvs[0].Value) == s.owner && !s.led.Load() {
			// The key was left by the previous process, which was killed.
			former := clientv3.Compare(clientv3.CreateRevision(string(kvs[0].Key)), "=", kvs[0].CreateRevision)
			if _, err := s.txn(t.done, []clientv3.Cmp{former}, []clientv3.Op{clientv3.OpDelete(string(kvs[0].Key))}, nil); err != nil {
				return err
			}
			continue
		}
		if len(kvs) == 0 {
			s.led.Store(true)
			t.running.Go(func() { t.watch(r.Header.Revision) })
			return nil
		}
		if err := s.gone(t.done, string(kvs[0].Key), r.Header.Revision); err != nil {
			return err
		}
	}
}

// watch ends the term when its key is removed, by whomever.
func (t *term) watch(at int64) {
	defer t.lost()
	for t.store.gone(t.done, t.key, at) != nil {
		select {
		case <-t.done.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// gone waits until a key that existed at a revision may no longer exist.
func (s *Store) gone(ctx context.Context, key string, at int64) error {
	client, err := s.conn(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range client.Watch(ctx, key, clientv3.WithRev(at+1)) {
		if err := r.Err(); errors.Is(err, rpctypes.ErrCompacted) {
			return nil
		} else if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		for _, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("etcd ended the watch")
}
