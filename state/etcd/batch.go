package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
	"wasmxds/state/packed"
)

// A batch that does not fit in one transaction is split into parts. Each part is first
// stored under batchKeys, where nothing reads it. Then one transaction commits the batch by
// writing applyKey. From then on, nothing else is read or written until the batch is
// finished, which any process can do: each part is applied in one transaction, and the last
// transaction removes applyKey and the stored parts.
//
// If a process ends before it commits, the next process that writes such a batch removes
// its parts. If the first process is still writing at that time, it finds its first part
// missing when it commits, and starts again.

// tries is how often applyParts starts a batch.
const tries = 8

func (s *Store) applyParts(ctx context.Context, parts [][]state.Op, in *term, when []clientv3.Cmp) (int64, error) {
	for try := range tries {
		id := rand.Text()
		committed, err := s.writeParts(ctx, id, parts, in, when)
		if err != nil {
			return 0, err
		}
		if committed != nil {
			return s.finish(ctx, committed)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Duration(try+1) * 100 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("%d attempts collided with other large batches", tries)
}

func (s *Store) part(id string, n int) string {
	return fmt.Sprintf("%s%s/%05d", s.at(batchKeys), id, n)
}

// writeParts stores the parts of a batch and commits it. It returns the entry that marks
// the commit, or nil if another process has removed parts meanwhile.
func (s *Store) writeParts(ctx context.Context, id string, parts [][]state.Op, in *term, when []clientv3.Cmp) (*mvccpb.KeyValue, error) {
	if _, err := s.do(ctx, in, when, clientv3.OpDelete(s.at(batchKeys), clientv3.WithPrefix())); err != nil {
		return nil, err
	}
	for n, part := range parts {
		if _, err := s.txn(ctx, nil, []clientv3.Op{clientv3.OpPut(s.part(id, n), string(packed.AppendOps(nil, part)))}, nil); err != nil {
			return nil, err
		}
	}
	mark := id + "/" + strconv.Itoa(len(parts))
	here := clientv3.Compare(clientv3.CreateRevision(s.part(id, 0)), ">", 0)
	r, err := s.do(ctx, in, append([]clientv3.Cmp{here}, when...), clientv3.OpPut(s.at(applyKey), mark))
	switch {
	case errors.Is(err, state.ErrConflict):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &mvccpb.KeyValue{Key: []byte(s.at(applyKey)), Value: []byte(mark), ModRevision: r.Header.Revision}, nil
}

// finish applies the parts of a committed batch that are still missing, unless another
// process does so first, and returns a revision at which the batch is complete.
func (s *Store) finish(ctx context.Context, mark *mvccpb.KeyValue) (int64, error) {
	id, count, _ := strings.Cut(string(mark.Value), "/")
	parts, err := strconv.Atoi(count)
	if err != nil {
		return 0, fmt.Errorf("%s is %q, which xds-server did not write", mark.Key, mark.Value)
	}
	still := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.at(applyKey)), "=", mark.ModRevision)}
	for n := range parts {
		r, err := s.txn(ctx, still, []clientv3.Op{clientv3.OpGet(s.part(id, n))}, nil)
		if err != nil {
			return 0, err
		}
		if !r.Succeeded {
			return r.Header.Revision, nil
		}
		kvs := r.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 {
			return 0, fmt.Errorf("%s is not there, of a batch that is committed", s.part(id, n))
		}
		ops, err := packed.Ops(kvs[0].Value)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", kvs[0].Key, err)
		}
		if _, err = s.txn(ctx, still, s.ops(ops), nil); err != nil {
			return 0, err
		}
	}
	r, err := s.txn(ctx, still, []clientv3.Op{
		clientv3.OpDelete(s.at(applyKey)),
		clientv3.OpDelete(s.at(batchKeys)+id+"/", clientv3.WithPrefix()),
	}, nil)
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}
