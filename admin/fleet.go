package admin

import (
	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// Fleet is the server that Envoys are connected to, as used by admin.
// [xds.Server] implements it.
type Fleet interface {
	// Nodes returns up to limit nodes, connected or away, in the order of their
	// ids, after the given id, and the id for the next call ("": no more).
	Nodes(after string, limit int) (nodes []xds.NodeStatus, next string)
	// Node returns a node by its id.
	Node(id string) (xds.NodeStatus, bool)
	// Generation changes whenever the results of the other methods may have
	// changed. The results are at least as new as a generation that was
	// returned before.
	Generation() uint64
	// Summary returns the number of nodes in total, and by filter.
	Summary() (xds.NodeCount, map[string]xds.FilterCount)
}

// Catalog returns what nodes should have. [xds.Publication] implements it.
type Catalog interface {
	Snapshot(definition.Node) *resource.Snapshot
	Filter(name string) *resource.Filter // nil: there is none
}

// behind reports whether an Envoy has another version of a listener than it
// should.
func behind(l *swap.ListenerStatus) bool { return l.Running != l.Wanted }
