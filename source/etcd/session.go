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

// session is the use of one client.
type session struct {
	*run
	client  *clientv3.Client
	wait    time.Duration
	table   *table
	cluster uint64       // id of the cluster that was read
	seen    atomic.Int64 // revision of the table
}

// firstWait is the timeout at the start, after which the stored content is
// served.
const firstWait = 3 * time.Second

// session reads everything and then follows changes, until an error. It calls
// read when everything has been read.
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

// list reads all documents at one revision.
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

// get sends a request to etcd, with the timeout s.wait. The response is
// linearizable, not stale.
func (s *session) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	resp, err := s.client.Get(ctx, key, options...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return resp, nil
}

// follow sends changes when there have been none for a while.
func (s *session) follow(ctx context.Context) error {
	// A member that is cut off from the others must end the watch.
	changes := s.client.Watch(clientv3.WithRequireLeader(ctx), s.below,
		clientv3.WithPrefix(), clientv3.WithRev(s.seen.Load()+1), clientv3.WithProgressNotify())
	var first time.Time // of the unsent changes
	due := time.NewTimer(0)
	defer due.Stop()
	var up chan<- source.Batch // nil: nothing to send
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
				s.Log.Info("etcd has compacted the revisions since the last read: reading all documents again", "read", s.seen.Load(), "oldest", resp.CompactRevision)
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

// probe checks from time to time that etcd can be reached, and that it is the
// cluster that was read: after a restore from a backup, a watch would wait for
// the old revision.
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
			s.Log.Warn("etcd is a different cluster or was restored from a backup: reading all documents again")
			return errAgain
		}
	}
}
