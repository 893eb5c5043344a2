package xds

import (
	"wasmxds/definition"
	"wasmxds/resource"
)

// Publication is what Envoys get: the base, and the changes in progress with the Envoys
// that each of them has reached.
type Publication struct {
	*resource.Catalog
	// Choose returns the choice of a node; nil: all nodes have the base. It must be fast,
	// deterministic, and safe for concurrent use.
	Choose func(definition.Node) resource.Choice
	// Again means that whoever publishes this has passed over a publication, in which an
	// Envoy may have had another choice: what it has by this one is reported again.
	Again bool
}

// Snapshot returns the snapshot of a node.
func (p Publication) Snapshot(n definition.Node) *resource.Snapshot {
	_, snap, _ := p.choice(n)
	return snap
}

// choice returns the choice of a node, its snapshot, and that of the base. If the Catalog
// does not contain the choice yet, both are those of the base.
func (p Publication) choice(n definition.Node) (choice resource.Choice, snap, base *resource.Snapshot) {
	if p.Choose != nil {
		if choice = p.Choose(n); !p.Has(choice) {
			choice = ""
		}
	}
	base = p.Catalog.Snapshot(n, "")
	if choice == "" {
		return choice, base, base
	}
	return choice, p.Catalog.Snapshot(n, choice), base
}
