// Package profile tells in which functions a module spends its instructions.
//
// A [Recorder] creates a [Profile] while a module runs. [Profile.Encode] writes it for go
// tool pprof. Profiles are pure data: the process that runs a module sends them to the
// process that has asked for them, which checks them with [Profile.Check].
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Profile is a tree of calls. Its roots are the phases of a module's life, such as [Start].
// Every other node is a function, called by its parent.
type Profile struct {
	Nodes []Node // parents before their children
}

// Node is a function that was called by another.
type Node struct {
	Parent       int32 // index of its caller; -1: this is a phase
	Function     string
	Instructions uint64 // without those of the functions that it calls
	Calls        uint64
}

// Phases of a module's life.
const (
	Start    = "start"    // from its instantiation until it is configured
	Requests = "requests" // while requests or connections go through it
	End      = "end"      // timers after the last of them, and the end of the plugin
)

const (
	maxName = 500 // bytes
)

// Check returns an error if no [Recorder] can have created p, and shortens names that are
// too long.
func (p *Profile) Check() error {
	if len(p.Nodes) > maxNodes {
		return fmt.Errorf("a profile with %d functions, at most %d are read", len(p.Nodes), maxNodes)
	}
	depth := make([]int, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Parent < -1 || int(n.Parent) >= i {
			return errors.New("a profile that is no tree")
		}
		if n.Parent >= 0 {
			depth[i] = depth[n.Parent] + 1
		}
		if depth[i] > maxDepth {
			return fmt.Errorf("a profile with calls that are more than %d deep", maxDepth)
		}
		n.Function = cut(n.Function)
	}
	return nil
}

// Totals returns the instructions of each node together with those of
// everything that it calls.
func (p *Profile) Totals() []uint64 {
	totals := make([]uint64, len(p.Nodes))
	for i, n := range slices.Backward(p.Nodes) {
		totals[i] += n.Instructions
		if n.Parent >= 0 {
			totals[n.Parent] += totals[i]
		}
	}
	return totals
}

// Add adds the instructions and calls of another profile.
func (p *Profile) Add(other *Profile) {
	type call struct {
		parent   int32
		function string
	}
	at := make(map[call]int32, len(p.Nodes))
	for i, n := range p.Nodes {
		at[call{n.Parent, n.Function}] = int32(i)
	}
	here := make([]int32, len(other.Nodes)) // index in p
	for i, n := range other.Nodes {
		if n.Parent >= 0 {
			n.Parent = here[n.Parent]
		}
		j, known := at[call{n.Parent, n.Function}]
		if known {
			p.Nodes[j].Instructions += n.Instructions
			p.Nodes[j].Calls += n.Calls
		} else {
			j = int32(len(p.Nodes))
			at[call{n.Parent, n.Function}] = j
			p.Nodes = append(p.Nodes, n)
		}
		here[i] = j
	}
}

// Trim keeps the n nodes with the most instructions. Those of other functions are added to
// their callers.
func (p *Profile) Trim(n int) {
	if len(p.Nodes) <= n {
		return
	}
	totals := p.Totals()
	order := make([]int, len(p.Nodes))
	for i := range order {
		order[i] = i
	}
	// A caller has at least as many as the functions that it calls, and comes before them.
	// So it is kept if one of them is.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(totals[b], totals[a]) })
	keep := make([]bool, len(p.Nodes))
	for _, i := range order[:n] {
		keep[i] = true
	}
	kept := make([]Node, 0, n)
	moved := make([]int32, len(p.Nodes)) // index in kept of each node, or of the caller that it is added to
	for i, node := range p.Nodes {
		parent := int32(-1)
		if node.Parent >= 0 {
			parent = moved[node.Parent]
		}
		if keep[i] {
			node.Parent = parent
			moved[i] = int32(len(kept))
			kept = append(kept, node)
			continue
		}
		moved[i] = parent
		if parent >= 0 {
			kept[parent].Instructions += node.Instructions
		}
	}
	p.Nodes = kept
}

// cut shortens a name that is too long to read.
func cut(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "…"
}
