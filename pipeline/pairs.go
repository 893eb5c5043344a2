package pipeline

import (
	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/rollout"
)

// servedBy returns the certificates of the listeners of a plan.
func (j *join) servedBy(plan *rollout.Plan) map[*definition.Listener]*resource.Pair {
	if j.pairs == nil {
		return nil
	}
	of := map[*definition.Listener]definition.TLS{}
	add := func(listeners []*definition.Listener) {
		for _, l := range listeners {
			if _, found := of[l]; l.TLS != nil && !found { // sets share most of their listeners
				of[l] = j.here(l)
			}
		}
	}
	add(plan.Base.Listeners)
	for _, set := range plan.Sets {
		add(set.Listeners)
	}
	return j.pairs.Want(of)
}

// here returns a listener's TLS with the paths of this machine: the listener
// may have been stored by another server, whose definitions are in another
// folder.
func (j *join) here(l *definition.Listener) definition.TLS {
	t := *l.TLS
	if j.set != nil {
		for _, own := range j.set.Listeners {
			if own.Name == l.Name && own.TLS != nil {
				same := *own.TLS
				same.Folder = t.Folder
				if same == t {
					return *own.TLS
				}
			}
		}
	}
	return t
}
