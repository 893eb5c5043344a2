package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// page is how many keys are asked for at once: with the 1.5 MiB that etcd takes
// of each by default, an answer has 96 MiB at most.
const page = 64

// get is how something is asked for.
type get = func(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error)

// Pages gives all that is below a prefix, by key, as it is at one revision.
func Pages(ctx context.Context, get get, below string, revision int64, each func(*mvccpb.KeyValue)) error {
	return pages(ctx, get, below, revision, func(resp *clientv3.GetResponse) bool {
		for _, kv := range resp.Kvs {
			each(kv)
		}
		return true
	})
}

// pages gives the answers, until one is the last or no more are wanted. Without
// a revision it is the one of the first.
func pages(ctx context.Context, get get, below string, revision int64, each func(*clientv3.GetResponse) (more bool)) error {
	end := clientv3.GetPrefixRangeEnd(below)
	for from := below; ; {
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		resp, err := get(ctx, from, options...)
		if err != nil {
			return err
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		if !each(resp) || !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
