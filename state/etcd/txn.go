package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
)

// missing is the condition that a key does not exist.
func missing(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
}

// txn runs a transaction, for at most callTime.
func (s *Store) txn(ctx context.Context, when []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	client, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	one, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := client.Txn(one).If(when...).Then(then...).Else(otherwise...).Commit()
	if err == nil {
		return r, nil
	}
	return nil, told(ctx, err)
}

// told returns the error of a call as people need to read it.
func told(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("etcd did not answer within %v", callTime)
	}
	return fmt.Errorf("etcd: %w", err)
}

// do runs a transaction when no batch is half applied. If in is not nil, the transaction
// belongs to that term, and do returns state.ErrDeposed if the term is over. It returns
// state.ErrConflict if the conditions do not hold.
func (s *Store) do(ctx context.Context, in *term, when []clientv3.Cmp, then ...clientv3.Op) (*clientv3.TxnResponse, error) {
	when = append([]clientv3.Cmp{missing(s.at(applyKey))}, when...)
	otherwise := []clientv3.Op{clientv3.OpGet(s.at(applyKey))}
	if in != nil {
		when = append(when, in.lasts())
		otherwise = append(otherwise, clientv3.OpGet(in.key))
	}
	for {
		r, err := s.txn(ctx, when, then, otherwise)
		if err != nil || r.Succeeded {
			return r, err
		}
		if in != nil && !in.is(r.Responses[1].GetResponseRange().Kvs) {
			in.lost()
			return nil, state.ErrDeposed
		}
		begun := r.Responses[0].GetResponseRange().Kvs
		if len(begun) == 0 {
			return nil, state.ErrConflict
		}
		if _, err := s.finish(ctx, begun[0]); err != nil {
			return nil, err
		}
	}
}

// read reads a range when no batch is half applied, and returns the current revision.
func (s *Store) read(ctx context.Context, op clientv3.Op) (*pb.RangeResponse, int64, error) {
	r, err := s.do(ctx, nil, nil, op)
	if err != nil {
		return nil, 0, err
	}
	return r.Responses[0].GetResponseRange(), r.Header.Revision, nil
}
