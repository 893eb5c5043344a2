package resource

import (
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestBuildBlocksNoOther checks that a build blocks no callers for other keys.
func TestBuildBlocksNoOther(t *testing.T) {
	gs, m := newGroups(), new(memo[int])
	for name, test := range map[string]struct {
		slow func(wait func())
		get  func(key string)
	}{
		"group": {
			func(wait func()) { gs.get("slow", func() *Snapshot { wait(); return new(Snapshot) }) },
			func(key string) { gs.get(key, func() *Snapshot { return new(Snapshot) }) },
		},
		"memo": {
			func(wait func()) { m.get("slow", func() int { wait(); return 1 }) },
			func(key string) { m.get(key, func() int { return 2 }) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun, end := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(end)
			wg.Go(func() { test.slow(func() { close(begun); <-end }) })
			<-begun
			got := make(chan struct{})
			wg.Go(func() { test.get("other"); test.get("other"); close(got) })
			select {
			case <-got:
			case <-time.After(time.Minute):
				t.Fatal("it waits for what another asked for")
			}
		})
	}
}

// TestGroupsAreBuiltOnce checks that all concurrent callers get the same
// Snapshot.
func TestGroupsAreBuiltOnce(t *testing.T) {
	set, nodes := fleet()
	c := mustCompile(t, nil, set)
	got := make([]*Snapshot, 64)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = c.Snapshot(nodes[0], "") })
	}
	wg.Wait()
	for _, s := range got {
		if s != got[0] {
			t.Fatal("one group has several Snapshots")
		}
	}
}

// TestGroupsShrink checks that groups without nodes are removed, and those in
// use stay the same from Catalog to Catalog.
func TestGroupsShrink(t *testing.T) {
	set := new(module.Set)
	for i := range 12 { // 4096 groups, by the labels of nodes
		f := wasm(fmt.Sprintf("filter-%02d", i), shaA, "x")
		f.Definition.Attach.Nodes.Labels = map[string]string{fmt.Sprint(i): "yes"}
		set.Filters = append(set.Filters, f)
	}
	node := func(group int) definition.Node {
		n := definition.Node{ID: fmt.Sprint(group), Labels: map[string]string{}}
		for i := range 12 {
			if group&(1<<i) != 0 {
				n.Labels[fmt.Sprint(i)] = "yes"
			}
		}
		return n
	}
	c := mustCompile(t, nil, set)
	mine := c.Snapshot(node(1), "")
	if c.Snapshot(node(2), "") == mine {
		t.Fatal("both are of one group")
	}
	for round := range 2 {
		for i := range 4096 {
			c.Snapshot(node(i), "")
			if i%256 == 0 {
				goruntime.GC()
			}
		}
		if n := len(c.groups.m); n > 1024 {
			t.Errorf("round %d: %d groups are kept within one Catalog, one is used", round, n)
		}
		goruntime.GC()
		c = mustCompile(t, c, changed(set, 7, func(d *definition.Filter) { d.RootID = fmt.Sprint(round) }))
		if n := len(c.groups.m); n != 1 {
			t.Errorf("round %d: %d groups are kept, one is used", round, n)
		}
		if c.Snapshot(node(1), "") != mine {
			t.Error("the one that is used is built anew")
		}
	}
	goruntime.KeepAlive(mine)
}

// BenchmarkSnapshotDuringBuilds measures a lookup while others build large
// groups, each for one node.
func BenchmarkSnapshotDuringBuilds(b *testing.B) {
	set, nodes := fleet()
	for i := range set.Filters { // all for everyone with env=prod
		set.Filters[i].Definition.Attach.Nodes.Labels = map[string]string{"env": "prod"}
	}
	c, _ := Compile(nil, Sets{Base: set}, opts)
	kept := c.Snapshot(nodes[0], "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				c.Snapshot(nodes[1+i%(len(nodes)-1)], "")
			}
		}
	})
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if c.Snapshot(nodes[0], "") != kept {
			b.Fatal("built anew")
		}
		took = append(took, time.Since(start))
		time.Sleep(100 * time.Microsecond)
	}
	close(stop)
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	goruntime.KeepAlive(kept)
}
