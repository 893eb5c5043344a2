package etcd

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state"
	"wasmxds/state/packed"
	"wasmxds/state/statetest"
	"wasmxds/state/statetest/etcdtest"
)

// large returns a batch of more than one transaction.
func large(value string) []state.Op {
	ops := make([]state.Op, 250)
	for i := range ops {
		ops[i] = state.Op{Key: fmt.Sprintf("n/%03d", i), Value: []byte(value)}
	}
	return ops
}

// TestUnfinished checks that a batch whose writer is killed halfway is completed by the
// next writer if it was committed, and has no effect otherwise.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	batch := func(value string) [][]state.Op { return statetest.Must(pack(large(value)))(t) }
	values := func() string {
		t.Helper()
		all, _, err := s.List(t.Context(), "n/")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, e := range all {
			seen[string(e.Value)]++
		}
		return fmt.Sprint(seen)
	}
	// Not committed.
	for n, part := range batch("never") {
		statetest.Must(client.Put(t.Context(), s.part("dead", n), string(packed.AppendOps(nil, part))))(t)
	}
	if got := values(); got != "map[]" {
		t.Errorf("of a batch that was not committed there is %s", got)
	}
	// Committed, with one part applied.
	mark, err := s.writeParts(t.Context(), "first", batch("first"), nil, nil)
	if err != nil || mark == nil {
		t.Fatal(mark, err)
	}
	statetest.Must(s.txn(t.Context(), nil, s.ops(batch("first")[1]), nil))(t)
	if got := values(); got != "map[first:250]" {
		t.Errorf("of a batch that was committed there is %s", got)
	}
	// Its writer is back: nothing is undone.
	statetest.Must(s.Apply(t.Context(), statetest.Put("n/000", "later")))(t)
	statetest.Must(s.finish(t.Context(), mark))(t)
	if got := values(); got != "map[first:249 later:1]" {
		t.Errorf("after its writer came back there is %s", got)
	}
	// The next writer completes it first.
	if mark, err = s.writeParts(t.Context(), "second", batch("second"), nil, nil); err != nil || mark == nil {
		t.Fatal(mark, err)
	}
	statetest.Must(s.Apply(t.Context(), statetest.Put("n/000", "last")))(t)
	if got := values(); got != "map[last:1 second:249]" {
		t.Errorf("after the next write there is %s", got)
	}
	if r := statetest.Must(client.Get(t.Context(), s.at("."), clientv3.WithPrefix(), clientv3.WithCountOnly()))(t); r.Count != 0 {
		t.Errorf("%d keys are left over", r.Count)
	}
}

// TestManyLarge has several writers write large batches concurrently.
func TestManyLarge(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	statetest.ManyLarge(t, func() state.Store { return store(t, c.Endpoints()...) },
		func(n int) []state.Op { return large(fmt.Sprint(n)) })
}
