package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// page is the number of keys in one request: with etcd's default limit of 1.5
// MiB per value, a response has at most 96 MiB.
const page = 64

// get is a function that performs a range request.
type get = func(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error)

// Pages calls each for all keys below a prefix, in order, at one revision.
func Pages(ctx context.Context, get get, below string, revision int64, each func(*mvccpb.KeyValue)) error {
	return pages(ctx, get, below, revision, func(resp *clientv3.GetResponse) bool {
		for _, kv := range resp.Kvs {
			each(kv)
		}
		return true
	})
}

// pages calls each for each response, until one is the last or each returns
// false. If revision is 0, all responses are at the revision of the first.
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
