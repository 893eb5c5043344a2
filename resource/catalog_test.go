package resource

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// fleet returns a set of 500 groups, each with its own listener and filter, and
// one node for each.
func fleet() (*module.Set, []definition.Node) {
	set := new(module.Set)
	var nodes []definition.Node
	for i := range 500 {
		labels := map[string]string{"app": fmt.Sprintf("app-%03d", i), "env": "prod"}
		f := wasm(fmt.Sprintf("filter-%03d", i), shaA, "x")
		f.Definition.Attach.Nodes.Labels = labels
		l := web(fmt.Sprintf("web-%03d", i), "127.0.0.1:8080")
		l.Nodes.Labels = labels
		set.Filters = append(set.Filters, f)
		set.Listeners = append(set.Listeners, l)
		nodes = append(nodes, definition.Node{ID: fmt.Sprintf("edge-%03d", i), Cluster: "edge", Labels: labels})
	}
	return set, nodes
}

// changed returns the set with another filter at i.
func changed(set *module.Set, i int, edit func(*definition.Filter)) *module.Set {
	f := *set.Filters[i]
	d := *f.Definition
	edit(&d)
	f.Definition = &d
	next := *set
	next.Filters = append([]*module.Filter(nil), set.Filters...)
	next.Filters[i] = &f
	return &next
}

// affects reports whether a definition that matches node n has changed since
// prev, or was added or removed.
func affects(prev, c *Catalog, n definition.Node, choice Choice) bool {
	return !slices.Equal(prev.view(choice).match(n), c.view(choice).match(n))
}

func TestChangeTouchesItsGroupAlone(t *testing.T) {
	set, nodes := fleet()
	before := mustCompile(t, nil, set)
	if before.compiled != 1000 {
		t.Errorf("compiled %d, want all 1000", before.compiled)
	}
	var had []*Snapshot
	for _, n := range nodes {
		had = append(had, before.Snapshot(n, ""))
	}
	after := mustCompile(t, before, changed(set, 7, func(d *definition.Filter) { d.RootID = "other" }))
	if after.compiled != 1 {
		t.Errorf("compiled %d, want the one that changed", after.compiled)
	}
	for i, n := range nodes {
		touched := i == 7
		if affects(before, after, n, "") != touched {
			t.Errorf("%s: affects %v, want %v", n.ID, !touched, touched)
		}
		if got := after.Snapshot(n, ""); (got != had[i]) != touched {
			t.Errorf("%s: another snapshot: %v, want %v", n.ID, got != had[i], touched)
		}
	}
	// In that group, too, what did not change keeps its pointer.
	if after.Snapshot(nodes[7], "").Listeners[0] != had[7].Listeners[0] {
		t.Error("the listener was made again")
	}
	if after.Snapshot(nodes[7], "").Primer != had[7].Primer {
		t.Error("the primer was made again")
	}
}

func TestSameContentIsNoChange(t *testing.T) {
	set, nodes := fleet()
	before := mustCompile(t, nil, set)
	had := before.Snapshot(nodes[3], "")
	moved := changed(set, 3, func(d *definition.Filter) { d.Pos.Line = 99 })
	after := mustCompile(t, before, moved)
	if affects(before, after, nodes[3], "") || after.Snapshot(nodes[3], "") != had {
		t.Error("a filter that only moved within its file is taken for a change")
	}
}

func TestNodesOfAGroupShare(t *testing.T) {
	set, nodes := fleet()
	c := mustCompile(t, nil, set)
	twin := nodes[0]
	twin.ID, twin.Cluster = "another", "elsewhere"
	if c.Snapshot(nodes[0], "") != c.Snapshot(twin, "") {
		t.Error("nodes that match the same definitions have two snapshots")
	}
	if c.Snapshot(nodes[0], "") == c.Snapshot(nodes[1], "") {
		t.Error("nodes that match other definitions share a snapshot")
	}
}

func TestOtherOptionsChangeAll(t *testing.T) {
	set, nodes := fleet()
	before := mustCompile(t, nil, set)
	after, problems := Compile(before, Sets{Base: set}, Options{ModulesURL: "https://modules.example.com"})
	if len(problems.Base) > 0 || after.compiled != 1000 || !affects(before, after, nodes[0], "") || after.Snapshot(nodes[0], "") == before.Snapshot(nodes[0], "") {
		t.Errorf("compiled %d, problems %v", after.compiled, problems)
	}
}

// TestStepsAgreeWithWhole changes a small set at random repeatedly, and
// compares each Catalog that was compiled from the previous one with one that
// was compiled from scratch.
func TestStepsAgreeWithWhole(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		set := new(module.Set)
		var prev *Catalog
		had := make(map[string]*Snapshot)
		for step := range 40 {
			set = mutate(r, set)
			c, _ := Compile(prev, Sets{Base: set}, opts)
			whole, _ := Compile(nil, Sets{Base: set}, opts)
			for _, n := range someNodes() {
				got, want := c.Snapshot(n, ""), whole.Snapshot(n, "")
				if describe(got) != describe(want) {
					t.Fatalf("seed %d, step %d, node %s:\n%s\nfrom nothing:\n%s", seed, step, n.ID, describe(got), describe(want))
				}
				if prev != nil && !affects(prev, c, n, "") && got != had[n.ID] {
					t.Fatalf("seed %d, step %d: not affected, but node %s has another snapshot", seed, step, n.ID)
				}
				had[n.ID] = got
			}
			prev = c
		}
	}
}

func someNodes() []definition.Node {
	var nodes []definition.Node
	for i := range 6 {
		nodes = append(nodes, definition.Node{
			ID:      fmt.Sprintf("edge-%d", i),
			Cluster: []string{"a", "b"}[i%2],
			Labels:  map[string]string{"app": fmt.Sprint(i % 3), "env": "prod"},
		})
	}
	return nodes
}

// TestRoutesChangeAlone checks that a changed route changes only the routes of
// its group, and no listener.
func TestRoutesChangeAlone(t *testing.T) {
	set, nodes := fleet()
	before := mustCompile(t, nil, set)
	had := before.Snapshot(nodes[7], "")
	l := *set.Listeners[7]
	l.Routes = []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:9001", Weight: 1}}}}
	next := *set
	next.Listeners = slices.Clone(set.Listeners)
	next.Listeners[7] = &l
	after := mustCompile(t, before, &next)
	got := after.Snapshot(nodes[7], "")
	if got == had || affects(before, after, nodes[8], "") || !affects(before, after, nodes[7], "") {
		t.Error("the change is not seen, or by others")
	}
	if a, b := had.Listeners[0], got.Listeners[0]; a.Version != b.Version || !bytes.Equal(a.Value, b.Value) || a.RoutesName != b.RoutesName {
		t.Errorf("the listener was %s and is %s", a.Version, b.Version)
	}
	if len(got.Routes) != 1 || got.Routes[0].Name != had.Routes[0].Name || got.Routes[0].Version == had.Routes[0].Version {
		t.Errorf("the routes were %+v and are %+v", had.Routes[0], got.Routes)
	}
}

// mutate adds, edits or removes a definition.
func mutate(r *rand.Rand, set *module.Set) *module.Set {
	next := &module.Set{}
	name := fmt.Sprintf("n%d", r.IntN(5))
	if r.IntN(2) == 0 {
		for _, f := range set.Filters {
			if f.Definition.Name != name {
				next.Filters = append(next.Filters, f)
			}
		}
		next.Listeners = set.Listeners
		if r.IntN(3) > 0 {
			next.Filters = append(next.Filters, randomFilter(r, name))
		}
		return next
	}
	next.Filters = set.Filters
	for _, l := range set.Listeners {
		if l.Name != name {
			next.Listeners = append(next.Listeners, l)
		}
	}
	if r.IntN(3) > 0 {
		l := web(name, "127.0.0.1:8080")
		l.Nodes = randomSelector(r)
		next.Listeners = append(next.Listeners, l)
	}
	return next
}

func randomFilter(r *rand.Rand, name string) *module.Filter {
	f := wasm(name, []string{shaA, shaB, ""}[r.IntN(3)], fmt.Sprint(r.IntN(2)))
	f.Definition.Attach.Nodes = randomSelector(r)
	f.Definition.Order = r.IntN(3)
	f.Definition.Place = []definition.Place{{}, {At: definition.First}, {At: definition.First, Before: "n1"}, {At: definition.Last, After: "n2"}}[r.IntN(4)]
	f.Definition.OnFailure = []definition.OnFailure{definition.Closed, definition.Open}[r.IntN(2)]
	if r.IntN(3) == 0 {
		f.Definition.Attach.Listeners[0].Names = []string{fmt.Sprintf("n%d", r.IntN(5))}
	}
	return f
}

func randomSelector(r *rand.Rand) definition.Selector {
	return []definition.Selector{
		{},
		{IDs: []string{"edge-*"}},
		{IDs: []string{"edge-1", "edge-2", "edge-1"}},
		{IDs: []string{"*-3", "edge-1"}},
		{Clusters: []string{"a"}},
		{Clusters: []string{"b"}, Labels: map[string]string{"env": "prod"}},
		{Labels: map[string]string{"app": "1", "env": "prod"}},
		{Labels: map[string]string{"app": "2"}},
		{Labels: map[string]string{"env": "nowhere"}},
	}[r.IntN(9)]
}

// describe returns all content of s as text.
func describe(s *Snapshot) string {
	var b strings.Builder
	for _, r := range resources(s) {
		fmt.Fprintf(&b, "%s %s %s\n", r.TypeURL, r.Name, r.Version)
	}
	for _, l := range s.Listeners {
		fmt.Fprintln(&b, l.Name, l.Base, l.Slots, l.RoutesName, l.Chains)
	}
	for _, f := range s.Filters {
		fmt.Fprintln(&b, f.Name, f.Version, f.SHA256, f.OnFailure, f.Missing)
	}
	return b.String()
}

func TestSameInputSameBytes(t *testing.T) {
	for _, file := range []string{"testdata/web.yaml", "testdata/raw.yaml"} {
		set, nodes := read(t, file)
		again, _ := read(t, file)
		a := mustCompile(t, nil, set).Snapshot(nodes[0], "")
		for range 20 {
			b := mustCompile(t, nil, again).Snapshot(nodes[0], "")
			for i, r := range resources(a) {
				if !bytes.Equal(r.Value, resources(b)[i].Value) {
					t.Fatalf("%s %s differs", r.TypeURL, r.Name)
				}
			}
		}
	}
}

func BenchmarkCompileOneOfThousand(b *testing.B) {
	set, _ := fleet()
	prev, _ := Compile(nil, Sets{Base: set}, opts)
	sets := []*module.Set{
		changed(set, 7, func(d *definition.Filter) { d.RootID = "other" }),
		set,
	}
	for i := 0; b.Loop(); i++ {
		prev, _ = Compile(prev, Sets{Base: sets[i%2]}, opts)
	}
}

func BenchmarkCompileAll(b *testing.B) {
	set, _ := fleet()
	for b.Loop() {
		Compile(nil, Sets{Base: set}, opts)
	}
}

// tenThousand returns nodes that differ, twenty for each group.
func tenThousand() (*module.Set, []definition.Node) {
	set, nodes := fleet()
	var all []definition.Node
	for i := range 10_000 {
		n := nodes[i%len(nodes)]
		n.ID = fmt.Sprintf("edge-%d", i)
		all = append(all, n)
	}
	return set, all
}

func BenchmarkSnapshotTenThousand(b *testing.B) {
	set, nodes := tenThousand()
	c, _ := Compile(nil, Sets{Base: set}, opts)
	all := make([]*Snapshot, len(nodes)) // as streams hold theirs
	for b.Loop() {
		for i, n := range nodes {
			all[i] = c.Snapshot(n, "")
		}
	}
}
