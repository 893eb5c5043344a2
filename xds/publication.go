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

// Snapshot is what a node is to have.
func (p Publication) Snapshot(n definition.Node) *resource.Snapshot {
	_, snap := p.choice(n)
	return snap
}

// choice is the one of a node, with what it has by it. One that the Catalog does not
// have yet is none: the node has the base, and nothing else is to be told of it.
func (p Publication) choice(n definition.Node) (resource.Choice, *resource.Snapshot) {
	var choice resource.Choice
	if p.Choose != nil {
		if choice = p.Choose(n); !p.Has(choice) {
			choice = ""
		}
	}
	return choice, p.Catalog.Snapshot(n, choice)
}
