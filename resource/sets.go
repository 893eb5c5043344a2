package resource

import (
	"wasmxds/definition"
	"wasmxds/module"
)

// Choice says which of the changes that are under way a node has: their ids, in
// order, joined by "+". The zero value is none of them: the base.
type Choice string

// Sets are the definitions that are in force everywhere, and for each choice that
// is in use those that are so with its changes. What a change doesn't touch is the
// same pointer in all of them.
type Sets struct {
	Base    *module.Set
	Choices map[Choice]*module.Set
	// Standby are the choices with whose changes the versions before stand by, see
	// [Filter.Standby].
	Standby map[Choice]bool
	// Pairs are what listeners with TLS are served by. One that has none is withheld.
	Pairs map[*definition.Listener]*Pair
}

// Problems are what is wrong with Sets.
type Problems struct {
	Base    []definition.Problem
	Choices map[Choice][]definition.Problem // those that the base has not; no entry: there are none
}
