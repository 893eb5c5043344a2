package resource

import (
	"wasmxds/definition"
	"wasmxds/module"
)

// Choice identifies the changes in progress that a node has: their ids, in
// order, joined by "+". The zero value is the base, without any of them.
type Choice string

// Sets are the definitions that are in force everywhere and, for each choice in
// use, the definitions with its changes. What a change doesn't affect has the
// same pointer in all of them.
type Sets struct {
	Base    *module.Set
	Choices map[Choice]*module.Set
	// Standby are the choices for which standbys of the replaced versions are
	// kept; see [Filter.Standby].
	Standby map[Choice]bool
	// Pairs are the certificates of listeners with TLS. A listener without one
	// is withheld.
	Pairs map[*definition.Listener]*Pair
}

// Problems are the problems with Sets.
type Problems struct {
	Base    []definition.Problem
	Choices map[Choice][]definition.Problem // problems that the base does not have; no entry: none
}
