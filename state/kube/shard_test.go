package kube

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// noise returns bytes that can't be compressed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // it never fails
	return b
}

// shards returns the names of the Secrets that are shards of s.
func shards(t testing.TB, s *Store) []string {
	t.Helper()
	list := statetest.Must(s.secrets.List(t.Context(), metav1.ListOptions{LabelSelector: shardLabel}))(t)
	var names []string
	for _, o := range list.Items {
		names = append(names, o.GetName())
	}
	slices.Sort(names)
	return names
}

// named returns the names of the shards in the head of s.
func named(t testing.TB, s *Store) []string {
	t.Helper()
	var names []string
	for _, sh := range statetest.Must(s.readHead(t.Context()))(t).Shards {
		names = append(names, sh.Name)
	}
	slices.Sort(names)
	return names
}

// testModel has two processes write random batches, and compares the content with a model,
// whichever part of it is in the log or in shards.
func testModel(t *testing.T, server *kubetest.Server, namespace string) {
	stores := []*Store{store(t, server.Config, namespace), store(t, server.Config, namespace)}
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	most := 0
	for n := range 100 {
		s := stores[rng.IntN(2)]
		var ops []state.Op
		many, size := 1+rng.IntN(12), 3000
		switch rng.IntN(12) {
		case 0:
			many = 400
		case 1:
			many, size = 3, 400<<10
		}
		for range many {
			key := fmt.Sprintf("%c/%d", 'a'+rng.IntN(5), rng.IntN(200))
			op := state.Op{Key: key, Value: noise(byte(rng.IntN(256)), rng.IntN(size))}
			if gone := n/33 == 1 && rng.IntN(4) > 0 || rng.IntN(5) == 0; gone {
				op = state.Op{Key: key, Remove: true}
			}
			ops = append(ops, op)
			if op.Remove {
				delete(want, op.Key)
			} else {
				want[op.Key] = string(op.Value)
			}
		}
		statetest.Must(s.Apply(t.Context(), ops))(t)
		key := ops[rng.IntN(len(ops))].Key
		e, err := stores[rng.IntN(2)].Get(t.Context(), key)
		if value, there := want[key]; there != (err == nil) || string(e.Value) != value {
			t.Fatalf("after batch %d %s is there: %t, %v", n, key, there, err)
		}
		if n%10 != 9 {
			continue
		}
		prefix := []string{"", "a/", "c", "e/1", "f"}[rng.IntN(5)]
		all, _, err := stores[rng.IntN(2)].List(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range all {
			got[e.Key] = string(e.Value)
		}
		below := maps.Clone(want)
		maps.DeleteFunc(below, func(key, _ string) bool { return !strings.HasPrefix(key, prefix) })
		if !maps.Equal(got, below) || !slices.IsSortedFunc(all, func(a, b state.Entry) int { return cmp.Compare(a.Key, b.Key) }) {
			t.Fatalf("after batch %d there are %d entries below %q, want %d", n, len(all), prefix, len(below))
		}
		h := statetest.Must(s.readHead(t.Context()))(t)
		total := 0
		for _, sh := range h.Shards {
			total += sh.Bytes
		}
		if limit := 4 + 4*total/shardBytes; len(h.Shards) > limit {
			t.Errorf("%d shards for %d bytes", len(h.Shards), total)
		}
		most = max(most, len(h.Shards))
		if have, named := shards(t, s), named(t, s); !slices.Equal(have, named) {
			t.Errorf("there are the shards %q, and the head names %q", have, named)
		}
	}
	if most < 3 {
		t.Errorf("%d shards at most", most)
	}
}

// testManyLarge has several writers write large batches concurrently, while another process
// reads.
func testManyLarge(t *testing.T, server *kubetest.Server, namespace string) {
	statetest.ManyLarge(t, func() state.Store { return store(t, server.Config, namespace) },
		func(n int) []state.Op { return large(byte(n)) })
}

// large returns a batch that is too large for the log.
func large(seed byte) []state.Op {
	var ops []state.Op
	for i := range 250 {
		ops = append(ops, state.Op{Key: fmt.Sprintf("n/%03d", i), Value: append([]byte{'0' + seed}, noise(seed, 3000)...)})
	}
	return ops
}

// whole checks that the content is a complete batch of large, or nothing, and returns its
// seed.
func whole(t testing.TB, s state.Store) byte {
	t.Helper()
	value := statetest.Whole(t, s, 250)
	if len(value) == 0 {
		return 0
	}
	return value[0]
}

// testTooLarge checks that what a Secret can never hold is rejected permanently.
func testTooLarge(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	_, err := s.Apply(t.Context(), append(statetest.Put("a", "1"), state.Op{Key: "large", Value: noise(1, 2<<20)}))
	refused, is := errors.AsType[*state.RefusedError](err)
	if !is || refused.Key != "large" {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(t.Context(), "large", noise(1, 2<<20), 0); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	just := noise(2, maxEntry-len("just")-1)
	statetest.Must(s.Apply(t.Context(), []state.Op{{Key: "just", Value: just}, {Key: "just0", Value: just[1:]}, {Key: "k", Value: []byte("v")}}))(t)
	if e := statetest.Must(s.Get(t.Context(), "just"))(t); !bytes.Equal(e.Value, just) {
		t.Error("what is just not too large is not there as it was")
	}
}

// FuzzRead checks that any content of Secrets is read or rejected.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":"x","revision":3,"shards":[{"name":"a","from":"YQ=="}]}`), []byte{3, 4, 0, 1, 'a', 0}, []byte{1, 1, 'a', 1, 'b'})
	f.Add([]byte(`{}`), []byte(nil), appendRecords(nil, []record{{"a", []byte("1"), 1}, {"b", nil, 2}}))
	f.Fuzz(func(t *testing.T, text, log, shard []byte) {
		if h, err := readHead("1", map[string][]byte{headKey: text, logKey: log}); err == nil {
			h.shardOf("a")
			h.newest("a")
			h.drop(0)
		}
		all, err := records(shard)
		if err != nil {
			return
		}
		again, err := records(appendRecords(nil, all))
		if err != nil || len(again) != len(all) {
			t.Errorf("%v came back as %v, %v", all, again, err)
		}
	})
}

// testOwned checks that a caller may modify a value that it got.
func testOwned(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	statetest.Must(s.Apply(t.Context(), append(large(1), statetest.Put("a", "first")...)))(t)
	ours := append(statetest.Put("b", "second"), statetest.Put("c", "third")...)
	statetest.Must(s.Apply(t.Context(), ours))(t)
	copy(ours[1].Value, "XXXXX")
	spoil := func(value []byte) {
		for i := range value {
			value[i] = 'x'
		}
		_ = append(value, "xxxxxxxxxxxx"...)
	}
	for range 2 {
		for _, key := range []string{"a", "b"} {
			spoil(statetest.Must(s.Get(t.Context(), key))(t).Value)
		}
		all, _, err := s.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			spoil(e.Value)
		}
		statetest.Must(s.Apply(t.Context(), statetest.Put("d", "fourth")))(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), statetest.Patience)
	defer cancel()
	for e, err := range s.Watch(ctx, "", statetest.Must(s.Get(t.Context(), "b"))(t).Revision-1) {
		if err != nil {
			t.Fatal(err)
		}
		if spoil(e.Value); e.Key == "d" {
			break
		}
	}
	statetest.Must(s.Apply(t.Context(), large(2)))(t)
	for key, want := range map[string]string{"a": "first", "b": "second", "c": "third", "d": "fourth"} {
		if e := statetest.Must(s.Get(t.Context(), key))(t); string(e.Value) != want {
			t.Errorf("%s is %q", key, e.Value)
		}
	}
}
