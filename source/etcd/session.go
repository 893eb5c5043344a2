package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"wasmxds/source"
)

// session is a time with one client.
type session struct {
	*run
	client  *clientv3.Client
	wait    time.Duration
	table   *table
	cluster uint64       // id of what was read
	seen    atomic.Int64 // revision that the table is at
}

// firstWait is how long etcd is waited for at the start: what was kept is to
// serve then.
const firstWait = 3 * time.Second

// session reads all and then follows what changes, until it can't. read is
// called when all was read.
func (r *run) session(ctx context.Context, read func()) error {
	s := &session{run: r, wait: r.Wait}
	if !r.begun {
		s.wait = min(s.wait, firstWait)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	if s.client, err = r.Dial(ctx); err != nil {
		return err
	}
	defer s.client.Close()
	if err := s.list(ctx); err != nil {
		return err
	}
	read()
	r.found()
	b := s.table.batch()
	b.Whole, b.LeftOut = true, s.table.leftOut()
	r.send(ctx, b)
	s.table.sent()
	s.wait = r.Wait
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.probe(ctx) })
	return g.Wait()
}

// list reads all documents as they are at one revision.
func (s *session) list(ctx context.Context) error {
	s.table = newTable(s.below, s.MaxDocuments, s.MaxSize)
	err := pages(ctx, s.get, s.below, 0, func(resp *clientv3.GetResponse) (more bool) {
		if s.cluster == 0 {
			s.cluster = resp.Header.ClusterId
			s.seen.Store(resp.Header.Revision)
		}
		for _, kv := range resp.Kvs {
			s.table.put(kv)
		}
		if s.table.excess > 0 {
			s.table.excess += int(resp.Count) - len(resp.Kvs)
		}
		return s.table.excess == 0
	})
	if errors.Is(err, rpctypes.ErrCompacted) {
		return errAgain
	}
	return err
}

// get asks etcd, for no longer than s.wait. What it answers is not stale: the
// member asks a majority.
func (s *session) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	resp, err := s.client.Get(ctx, key, options...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return resp, nil
}

// follow sends what changes, once it is quiet.
func (s *session) follow(ctx context.Context) error {
	// A member that is cut off from the others must not keep the watch.
	changes := s.client.Watch(clientv3.WithRequireLeader(ctx), s.below,
		clientv3.WithPrefix(), clientv3.WithRev(s.seen.Load()+1), clientv3.WithProgressNotify())
	var first time.Time // of the changes that are not sent
	due := time.NewTimer(0)
	defer due.Stop()
	var up chan<- source.Batch // nil: nothing is due
	for {
		var b source.Batch
		if up != nil {
			b = s.table.batch()
			b.Changed = first
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-changes:
			switch {
			case !ok:
				return errors.New("the watch has ended")
			case resp.CompactRevision != 0:
				s.Log.Info("etcd has forgotten what happened since it was read, reads all again", "read", s.seen.Load(), "oldest", resp.CompactRevision)
				return errAgain
			case resp.Err() != nil:
				return fmt.Errorf("watch %s: %w", s.below, resp.Err())
			}
			for _, e := range resp.Events {
				if again := s.table.change(e); again {
					return errAgain
				}
			}
			s.seen.Store(max(s.seen.Load(), resp.Header.Revision))
			if len(s.table.news) == 0 {
				continue
			}
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			due.Reset(min(s.Quiet, first.Add(s.Max).Sub(now)))
		case <-due.C:
			if len(s.table.news) > 0 {
				up = s.up
			}
		case up <- b:
			s.table.sent()
			up, first = nil, time.Time{}
		}
	}
}

// probe asks from time to time whether etcd is there, and is the one that was
// read: after a restore from a backup a watch would wait for the revision that
// it was at.
func (s *session) probe(ctx context.Context) error {
	tick := time.NewTicker(s.Probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		seen := s.seen.Load()
		resp, err := s.get(ctx, s.below, clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		if resp.Header.ClusterId != s.cluster || resp.Header.Revision < seen {
			s.Log.Warn("etcd is another than was read, or an older state of it: reads all again")
			return errAgain
		}
	}
}
