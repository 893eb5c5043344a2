package resource

import (
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// compileSets compiles sets, and fails on any problem.
func compileSets(t *testing.T, prev *Catalog, sets Sets) *Catalog {
	t.Helper()
	c, problems := Compile(prev, sets, opts)
	if len(problems.Base) > 0 || len(problems.Choices) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return c
}

// root changes the root id of a filter.
func root(set *module.Set, i int, id string) *module.Set {
	return changed(set, i, func(d *definition.Filter) { d.RootID = id })
}

// TestChoice checks that nodes whose group a choice doesn't affect get the
// base's Snapshot, and so do nodes with an unknown choice.
func TestChoice(t *testing.T) {
	base, nodes := fleet()
	for name, askFirst := range map[string]Choice{"base first": "", "choice first": "a"} {
		t.Run(name, func(t *testing.T) {
			c := compileSets(t, nil, Sets{Base: base, Choices: map[Choice]*module.Set{"a": root(base, 7, "other")}})
			if c.compiled != 1001 {
				t.Errorf("compiled %d definitions, want 1000 and the one that changed", c.compiled)
			}
			for i, n := range nodes[:20] {
				first := c.Snapshot(n, askFirst)
				of := map[Choice]*Snapshot{askFirst: first, "": c.Snapshot(n, ""), "a": c.Snapshot(n, "a"), "gone": c.Snapshot(n, "gone")}
				if (of["a"] != of[""]) != (i == 7) || of["gone"] != of[""] || c.Has("gone") || !c.Has("a") || !c.Has("") {
					t.Errorf("%s: base %p, with the change %p, unknown choice %p", n.ID, of[""], of["a"], of["gone"])
				}
			}
			with, without := c.Snapshot(nodes[7], "a"), c.Snapshot(nodes[7], "")
			if with.Filters[0].Version == without.Filters[0].Version {
				t.Error("the choice has the base's filter")
			}
			if with.Listeners[0] != without.Listeners[0] || with.Primer != without.Primer {
				t.Error("the listener, or the primer, which the change doesn't touch, is another")
			}
		})
	}
}

// TestJoin checks that a node has the same with a change as when the change has
// joined the base, and the same as before when the change is undone.
func TestJoin(t *testing.T) {
	base, nodes := fleet()
	with := root(base, 7, "other")
	n, else7 := nodes[7], nodes[8]
	c := compileSets(t, nil, Sets{Base: base})
	old := c.Snapshot(n, "")
	untouched := c.Snapshot(else7, "")

	before := c
	c = compileSets(t, c, Sets{Base: base, Choices: map[Choice]*module.Set{"a": with}})
	if all, own, others := affects(before, c, n, ""), affects(before, c, n, "a"), affects(before, c, else7, "a"); all || !own || others {
		t.Errorf("a change begins: affects the base's %v, its own %v, others %v", all, own, others)
	}
	changed := c.Snapshot(n, "a")
	if c.Snapshot(n, "") != old || changed == old {
		t.Error("a change begins: nodes without it have another snapshot, or those with it the same")
	}

	joined := compileSets(t, c, Sets{Base: with})
	if all, own, others := affects(c, joined, n, ""), affects(c, joined, n, "a"), affects(c, joined, else7, ""); !all || own || others {
		t.Errorf("it joins: affects the base's %v, its own %v, others %v", all, own, others)
	}
	if joined.Snapshot(n, "") != changed || joined.Snapshot(else7, "") != untouched {
		t.Error("it joins: nodes that had it have another snapshot")
	}
	if joined.compiled != 0 {
		t.Errorf("it joins: %d definitions are compiled", joined.compiled)
	}

	undone := compileSets(t, c, Sets{Base: base})
	if affects(c, undone, n, "") || !affects(c, undone, n, "a") || undone.Snapshot(n, "a") != old {
		t.Error("it is undone: the nodes that had it do not have what they had before")
	}

	// Also if its definition was read again, and is the same.
	again := compileSets(t, c, Sets{Base: root(base, 7, "other")})
	if again.Snapshot(n, "") != changed {
		t.Error("the same content in another definition is taken for another")
	}
	goruntime.KeepAlive(old)
}

// TestChoicesCost checks that k open changes cost at most k+1 snapshots of the
// groups that they affect, whichever nodes have them, and none of other groups.
func TestChoicesCost(t *testing.T) {
	base, nodes := fleet()
	a, b := root(base, 7, "a"), root(base, 8, "b")
	ab := &module.Set{Filters: slices.Clone(a.Filters), Listeners: a.Listeners}
	ab.Filters[8] = b.Filters[8]
	abc := root(ab, 7, "c")
	c := compileSets(t, nil, Sets{Base: base, Choices: map[Choice]*module.Set{"a": a, "b": b, "a+b": ab, "a+b+c": abc}})
	if c.compiled != 1003 {
		t.Errorf("compiled %d definitions, want 1000 and the three changed ones", c.compiled)
	}
	snapshots := map[*Snapshot]bool{}
	parts := map[any]bool{}
	of := map[string]map[*Snapshot]bool{}
	for _, n := range nodes {
		of[n.ID] = map[*Snapshot]bool{}
		for _, choice := range []Choice{"", "a", "b", "a+b", "a+b+c"} {
			s := c.Snapshot(n, choice)
			snapshots[s], of[n.ID][s] = true, true
			for _, l := range append(s.Listeners, s.Primer) {
				parts[l] = true
			}
			for _, f := range s.Filters {
				parts[f] = true
			}
		}
	}
	for i, want := range map[int]int{6: 1, 7: 3, 8: 2} { // 7 is affected by a and c, 8 by b
		if got := len(of[nodes[i].ID]); got != want {
			t.Errorf("%s: %d snapshots, want %d", nodes[i].ID, got, want)
		}
	}
	if want := len(nodes) + 3; len(snapshots) != want {
		t.Errorf("%d snapshots, want %d", len(snapshots), want)
	}
	if want := 3*len(nodes) + 3; len(parts) != want {
		t.Errorf("%d listeners, primers and filters, want %d: three for each group, and the changed filters", len(parts), want)
	}
}

// TestChoicesMemory checks that changes to some groups don't take memory for
// all.
func TestChoicesMemory(t *testing.T) {
	base, nodes := fleet()
	heap := func(sets Sets, choices ...Choice) int64 {
		used := func() int64 {
			goruntime.GC()
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := used()
		c := compileSets(t, nil, sets)
		var had []*Snapshot
		for _, n := range nodes {
			for _, choice := range append(choices, "") {
				had = append(had, c.Snapshot(n, choice))
			}
		}
		cost := used() - before
		goruntime.KeepAlive(had)
		goruntime.KeepAlive(c)
		return cost
	}
	alone := heap(Sets{Base: base})
	sets := Sets{Base: base, Choices: map[Choice]*module.Set{}}
	var choices []Choice
	set := base
	for i := range 5 {
		set = root(set, i, "other")
		choices = append(choices, Choice(strings.Repeat("x", i+1)))
		sets.Choices[choices[i]] = set
	}
	with := heap(sets, choices...)
	t.Logf("500 groups, two definitions each: %d KiB, with five changes of a group each %d KiB", alone>>10, with>>10)
	if with > alone*3/2 {
		t.Errorf("five changes of one group of 500 each cost %d bytes, the rest %d", with-alone, alone)
	}
}

// TestProblemsOfChoices checks that problems of a choice are separate from
// those of the base.
func TestProblemsOfChoices(t *testing.T) {
	bad := func(name, file string) *module.Filter {
		f := wasm(name, shaA, "x")
		f.Definition.Pos = definition.Position{File: file, Line: 1}
		f.Definition.Name = TwinPrefix + name
		return f
	}
	named := func(file string) *module.Filter {
		f := wasm("taken", shaA, file)
		f.Definition.Pos = definition.Position{File: file, Line: 1}
		return f
	}
	always, changed, first, second := bad("always", "always.yaml"), bad("changed", "changed.yaml"), named("first.yaml"), named("second.yaml")
	of := func(fs ...*module.Filter) *module.Set { return &module.Set{Filters: fs} }
	_, problems := Compile(nil, Sets{Base: of(always, first), Choices: map[Choice]*module.Set{
		"a":     of(always, first, changed),
		"b":     of(always, first, second), // second requires that first is removed, which is a change of its own
		"b+c":   of(always, second),
		"a+b":   of(always, first, second, changed),
		"a+b+c": of(always, second, changed),
	}}, opts)
	files := func(ps []definition.Problem) string {
		var b strings.Builder
		for _, p := range ps {
			fmt.Fprint(&b, p.File, " ")
		}
		return b.String()
	}
	if got := files(problems.Base); got != "always.yaml " {
		t.Errorf("the base's: %s", got)
	}
	for choice, want := range map[Choice]string{
		"a":     "changed.yaml ",
		"b":     "second.yaml ",
		"b+c":   "",
		"a+b":   "changed.yaml second.yaml ",
		"a+b+c": "changed.yaml ",
	} {
		if got := files(problems.Choices[choice]); got != want {
			t.Errorf("%s: %q, want %q", choice, got, want)
		}
	}
}

// TestChoicesAgreeWithWhole changes sets at random, and compares each choice of
// a Catalog with a Catalog of that set alone, compiled from scratch.
func TestChoicesAgreeWithWhole(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 3))
		choices := []Choice{"a", "b", "a+b"}
		sets := Sets{Base: new(module.Set), Choices: map[Choice]*module.Set{}}
		type asked struct {
			node   string
			choice Choice
		}
		var prev *Catalog
		had := map[asked]*Snapshot{}
		for step := range 40 {
			switch choice := choices[r.IntN(3)]; r.IntN(4) {
			case 0:
				sets.Base = mutate(r, sets.Base)
			case 1: // a change joins
				if set := sets.Choices[choice]; set != nil {
					sets.Base = set
				}
				delete(sets.Choices, choice)
			case 2:
				delete(sets.Choices, choice)
			default:
				sets.Choices[choice] = mutate(r, sets.Base)
			}
			c, _ := Compile(prev, sets, opts)
			for _, choice := range append(choices, "") {
				set := sets.Base
				if other := sets.Choices[choice]; other != nil {
					set = other
				}
				whole, _ := Compile(nil, Sets{Base: set}, opts)
				for _, n := range someNodes() {
					got, want := c.Snapshot(n, choice), whole.Snapshot(n, "")
					if describe(got) != describe(want) {
						t.Fatalf("seed %d, step %d, node %s, choice %q:\n%s\nfrom nothing:\n%s", seed, step, n.ID, choice, describe(got), describe(want))
					}
					key := asked{n.ID, choice}
					if prev != nil && !affects(prev, c, n, choice) && got != had[key] {
						t.Fatalf("seed %d, step %d: not affected, but node %s has another snapshot for %q", seed, step, n.ID, choice)
					}
					had[key] = got
				}
			}
			prev = c
		}
	}
}

// TestChoicesAtOnce requests Snapshots while the next Catalog is compiled.
func TestChoicesAtOnce(t *testing.T) {
	base, nodes := fleet()
	with := root(base, 7, "other")
	c := compileSets(t, nil, Sets{Base: base})
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	for range 4 {
		old := c
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					old.Snapshot(nodes[7], "a")
				}
			}
		})
	}
	for i := range 50 {
		sets := Sets{Base: base, Choices: map[Choice]*module.Set{"a": with}}
		if i%2 == 1 {
			sets = Sets{Base: with}
		}
		c = compileSets(t, c, sets)
		s := c.Snapshot(nodes[7], "a")
		var again sync.WaitGroup
		for range 4 {
			again.Go(func() {
				if c.Snapshot(nodes[7], "a") != s {
					t.Error("a group has several Snapshots")
				}
			})
		}
		again.Wait()
		goruntime.KeepAlive(s)
	}
}

func BenchmarkCompileWithChoices(b *testing.B) {
	base, _ := fleet()
	sets := Sets{Base: base, Choices: map[Choice]*module.Set{}}
	set := base
	for i := range 3 {
		set = root(set, i, "other")
		sets.Choices[Choice(fmt.Sprint(i))] = set
	}
	prev, _ := Compile(nil, sets, opts)
	others := []*module.Set{root(base, 7, "one"), root(base, 7, "other")}
	for i := 0; b.Loop(); i++ {
		sets.Base = others[i%2]
		prev, _ = Compile(prev, sets, opts)
	}
}
