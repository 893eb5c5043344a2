package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
)

// Watch implements state.Store. It continues after etcd was unavailable.
func (s *Store) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		w := &watch{store: s, prefix: prefix, next: int64(from) + 1, yield: yield}
		err := s.retry().Watch(ctx, func() (bool, error) {
			was := w.next
			err := w.run(ctx)
			return w.next > was, err
		})
		if err != nil {
			yield(state.Event{}, fmt.Errorf("watch %s from revision %d: %w", prefix, from, err))
		}
	}
}

// watch is one call of Watch. It watches everything under the store's prefix, because all
// events between the commit of a large batch and its end are one batch.
type watch struct {
	store  *Store
	prefix string
	next   int64 // the first revision that was not yielded yet
	yield  func(state.Event, error) bool

	large bool          // a large batch is being finished
	batch []state.Event // to be yielded together
	at    int64         // revision of batch
}

// run watches until the watch fails or yield returns false.
func (w *watch) run(ctx context.Context) error {
	client, err := w.store.conn(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx)) // leave a member that is cut off
	defer cancel()
	w.large, w.batch = false, nil
	for r := range client.Watch(ctx, w.store.prefix, clientv3.WithPrefix(), clientv3.WithRev(w.next), clientv3.WithProgressNotify()) {
		if err := r.Err(); errors.Is(err, rpctypes.ErrCompacted) {
			return state.ErrCompacted
		} else if err != nil {
			return err
		}
		for _, e := range r.Events {
			if !w.take(e) {
				return nil
			}
		}
		if !w.tell() {
			return nil
		}
		if r.IsProgressNotify() && !w.large {
			w.next = max(w.next, r.Header.Revision+1)
		}
	}
	return errors.New("etcd has ended it")
}

// take processes one event. The events of one response belong to whole transactions.
func (w *watch) take(e *clientv3.Event) bool {
	if e.Kv.ModRevision != w.at && !w.tell() {
		return false
	}
	w.at = e.Kv.ModRevision
	key := string(e.Kv.Key[len(w.store.prefix):])
	switch {
	case key == applyKey:
		w.large = e.Type == clientv3.EventTypePut
	case strings.HasPrefix(key, w.prefix) && !w.store.own(e.Kv):
		w.batch = append(w.batch, w.event(e.Type == clientv3.EventTypeDelete, e.Kv))
	}
	return true
}

func (w *watch) event(gone bool, kv *mvccpb.KeyValue) state.Event {
	entry, err := w.store.entry(kv)
	if err != nil {
		w.store.log.Error("an entry of the state can't be read and is ignored", "key", string(kv.Key), "error", err)
		return state.Event{Entry: state.Entry{Key: string(kv.Key[len(w.store.prefix):]), Revision: state.Revision(kv.ModRevision)}, Gone: true}
	}
	return state.Event{Entry: entry, Gone: gone}
}

// tell yields the events of a batch that is complete.
func (w *watch) tell() bool {
	if w.large {
		return true
	}
	for i, e := range w.batch {
		e.More = i < len(w.batch)-1
		if !w.yield(e, nil) {
			return false
		}
	}
	w.batch = nil
	w.next = max(w.next, w.at+1)
	return true
}
