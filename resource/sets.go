package resource

import (
	"slices"

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
}

// Problems are what is wrong with Sets.
type Problems struct {
	Base    []definition.Problem
	Choices map[Choice][]definition.Problem // those that the base has not; no entry: there are none
}

// Alone are the errors that a choice has and neither the base nor whole: what is
// wrong with having these changes without the others, not with a change itself.
// Whole is the choice of all changes.
func (p *Problems) Alone(choice, whole Choice) []definition.Problem {
	alone := without(p.Choices[choice], p.Choices[whole])
	return slices.DeleteFunc(alone, func(p definition.Problem) bool { return p.Warning })
}
