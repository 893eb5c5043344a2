package xds

import (
	"wasmxds/definition"
	"wasmxds/resource"
)

// Publication is what Envoys are to have: what is in force everywhere, and with
// which of the changes that are under way each of them has it.
type Publication struct {
	*resource.Catalog
	// Choose gives the choice of a node; nil: all have the base. It must be quick,
	// always give the same, and be safe for concurrent use.
	Choose func(definition.Node) resource.Choice
}

// Choice is the one of a node.
func (p Publication) Choice(n definition.Node) resource.Choice {
	if p.Choose == nil {
		return ""
	}
	return p.Choose(n)
}

// Snapshot is what a node is to have.
func (p Publication) Snapshot(n definition.Node) *resource.Snapshot {
	return p.Catalog.Snapshot(n, p.Choice(n))
}
