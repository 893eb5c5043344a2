package admin

import (
	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// Fleet is what admin asks of the server that Envoys are connected to. It is an
// [xds.Server].
type Fleet interface {
	// Nodes gives up to limit nodes, connected or away, in the order of their
	// ids, from the one after the id given, and what to ask for next ("": no
	// more).
	Nodes(after string, limit int) (nodes []xds.NodeStatus, next string)
	// Node gives a node by its id.
	Node(id string) (xds.NodeStatus, bool)
	// Generation is another whenever anything may have changed of what the
	// others tell. What they tell is of the generation asked for before, or
	// newer.
	Generation() uint64
	// Summary counts nodes, in all and by filter name.
	Summary() (xds.NodeCount, map[string]xds.FilterCount)
}

// Catalog says what a node is to have. It is an [xds.Publication].
type Catalog interface {
	Snapshot(definition.Node) *resource.Snapshot
	Filter(name string) *resource.Filter // nil: there is none
}

// behind says whether an Envoy has another listener than it should.
func behind(l *swap.ListenerStatus) bool { return l.Running != l.Wanted }
