package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/source/etcd"
)

// ErrConflict means that somebody else has changed documents since they were
// read. Nothing was written.
var ErrConflict = errors.New("changed meanwhile")

// ErrTooMuch means that a change exceeds one transaction of etcd.
var ErrTooMuch = errors.New("too large for one etcd transaction")

// Write applies the plan in one transaction.
func (s *Store) Write(ctx context.Context, p *Plan) error {
	if !p.Changes() {
		return nil
	}
	below := etcd.Definitions(s.Prefix)
	unless := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(s.applied()), "=", p.From.applied),
		clientv3.Compare(clientv3.ModRevision(below), "<", p.From.Revision+1).WithPrefix(),
	}
	ops := []clientv3.Op{clientv3.OpPut(s.applied(), "")}
	for _, a := range p.Actions {
		key := s.definition(a.Name)
		switch a.What {
		case Unchanged:
			continue
		case Deleted, Pruned:
			ops = append(ops, clientv3.OpDelete(key))
			if a.Was.Labels != nil {
				ops = append(ops, clientv3.OpDelete(s.labels(a.Name)))
			}
		default:
			ops = append(ops, clientv3.OpPut(key, string(a.File.Text)))
			if a.labels == nil {
				continue
			}
			text, err := json.Marshal(a.labels)
			if err != nil {
				return err
			}
			ops = append(ops, clientv3.OpPut(s.labels(a.Name), string(text)))
		}
	}
	resp, err := s.Client.Txn(ctx).If(unless...).Then(ops...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: it needs %d operations, more than etcd allows (its --max-txn-ops, 128 by default); "+
			"apply fewer files at a time, or raise the limit", ErrTooMuch, len(ops))
	case errors.Is(err, rpctypes.ErrRequestTooLarge) || err != nil && strings.Contains(err.Error(), "trying to send message larger than max"):
		return fmt.Errorf("%w: it is larger than etcd allows (its --max-request-bytes, 1.5 MiB by default); "+
			"apply fewer files at a time, or raise the limit", ErrTooMuch)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("write: etcd did not confirm in time, so the documents may have changed: check with xds-server get before you try again: %w", err)
	case err != nil:
		return fmt.Errorf("write: %w", err)
	case !resp.Succeeded:
		return ErrConflict
	}
	return nil
}
