package profile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded has a start with 10 instructions and two requests that call f, which
// calls g.
func recorded() *Profile {
	var r Recorder
	r.Phase(Start)
	r.Enter("configure", 0)
	r.Leave(10)
	for range 2 {
		r.Phase(Requests)
		r.Enter("f", 100)
		r.Enter("g", 103)
		r.Leave(108)
		r.Leave(110)
	}
	return r.Profile()
}

func TestRecorder(t *testing.T) {
	want := &Profile{Nodes: []Node{
		{-1, Start, 0, 1}, {0, "configure", 10, 1},
		{-1, Requests, 0, 2}, {2, "f", 10, 2}, {3, "g", 10, 2},
	}}
	got := recorded()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint64{10, 10, 20, 20, 10}, got.Totals()); diff != "" {
		t.Error(diff)
	}
}

// TestCrash checks that a phase begins without the functions that a crash has
// left.
func TestCrash(t *testing.T) {
	var r Recorder
	r.Phase(Requests)
	r.Enter("crashes", 1)
	r.Phase(Start)
	r.Enter("configure", 5)
	r.Leave(7)
	p := r.Profile()
	if got := p.Nodes[3]; got.Parent != 2 || got.Instructions != 2 || p.Nodes[1].Instructions != 0 {
		t.Errorf("got %+v", p.Nodes)
	}
}

// TestDeepRecursion checks that a profile of deep recursion is not as large as
// its square.
func TestDeepRecursion(t *testing.T) {
	r := new(Recorder)
	const deep = 100_000
	for i := range uint64(deep) {
		r.Enter("f", i)
	}
	for i := range uint64(deep) {
		r.Leave(deep + i)
	}
	p := r.Profile()
	if len(r.at) != 0 || len(p.Nodes) != maxDepth+1 {
		t.Errorf("%d nodes, at %d", len(p.Nodes), len(r.at))
	}
	sum, calls := uint64(0), uint64(0)
	for _, n := range p.Nodes[1:] {
		sum, calls = sum+n.Instructions, calls+n.Calls
	}
	if sum != 2*deep-1 || calls != deep {
		t.Errorf("%d instructions in %d calls", sum, calls)
	}
}

func TestAdd(t *testing.T) {
	p := recorded()
	other := &Profile{Nodes: []Node{{-1, Requests, 0, 1}, {0, "h", 1, 1}, {0, "f", 2, 1}}}
	p.Add(other)
	want := &Profile{Nodes: []Node{
		{-1, Start, 0, 1}, {0, "configure", 10, 1},
		{-1, Requests, 0, 3}, {2, "f", 12, 3}, {3, "g", 10, 2}, {2, "h", 1, 1},
	}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

func TestTrim(t *testing.T) {
	p := &Profile{Nodes: []Node{
		{-1, Requests, 0, 1}, {0, "a", 1, 1}, {1, "small", 2, 9}, {2, "smaller", 1, 1}, {1, "b", 50, 1}, {4, "c", 50, 1},
	}}
	p.Trim(4)
	want := &Profile{Nodes: []Node{{-1, Requests, 0, 1}, {0, "a", 4, 1}, {1, "b", 50, 1}, {2, "c", 50, 1}}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

// TestCheck checks what a process that a module has taken over may answer.
func TestCheck(t *testing.T) {
	for _, wrong := range [][]Node{{{Parent: 0}}, {{Parent: -2}}, {{Parent: -1}, {Parent: 2}, {Parent: 1}}, make([]Node, maxNodes+1), deep()} {
		if (&Profile{Nodes: wrong}).Check() == nil {
			t.Errorf("%d nodes from %+v pass", len(wrong), wrong[0])
		}
	}
	long := &Profile{Nodes: []Node{{Parent: -1, Function: strings.Repeat("é", maxName)}}}
	if err := long.Check(); err != nil || len(long.Nodes[0].Function) > maxName+len("…") {
		t.Errorf("%v, %d bytes", err, len(long.Nodes[0].Function))
	}
}

// deep calls deeper than a Recorder follows.
func deep() []Node {
	nodes := make([]Node, maxDepth+2)
	for i := range nodes {
		nodes[i].Parent = int32(i - 1)
	}
	return nodes
}

// FuzzCheck checks that whatever passes can be used.
func FuzzCheck(f *testing.F) {
	f.Add(uint16(4), []byte{0, 0, 1, 1, 2, 0, 3, 9, 1})
	f.Fuzz(func(t *testing.T, keep uint16, b []byte) {
		p := new(Profile)
		for i := 0; i+2 < len(b); i += 3 {
			p.Nodes = append(p.Nodes, Node{Parent: int32(b[i]) - 1, Function: string(b[i+1 : i+2]), Instructions: uint64(b[i+2]), Calls: 1})
		}
		if p.Check() != nil {
			return
		}
		sum := func(p *Profile) (all uint64) {
			for _, n := range p.Nodes {
				all += n.Instructions
			}
			return all
		}
		want := sum(p)
		all := new(Profile)
		all.Add(p)
		all.Add(p)
		if got := sum(all); got != 2*want {
			t.Errorf("%d instructions twice are %d", want, got)
		}
		phases := 0
		for _, n := range p.Nodes {
			if n.Parent < 0 {
				phases++
			}
		}
		p.Trim(int(keep) + phases)
		if err := p.Check(); err != nil || len(p.Nodes) > int(keep)+phases {
			t.Errorf("%d nodes: %v", len(p.Nodes), err)
		}
		if len(p.Encode()) == 0 {
			t.Error("not encoded")
		}
	})
}
