package rollout

import (
	"errors"
	"slices"
)

// Rewritten is the complete saved state, as the leader has left it. It is for a Machine
// that follows.
type Rewritten struct{ Values map[string][]byte }

// Follow returns a Machine that follows the saved state of another. It moves and saves
// nothing: it takes what each Envoy gets from the saved state ([Rewritten]), and the rest
// from the definitions. While the other can't be heard, nothing changes.
//
// As long as nothing was saved, there is no Plan.
func Follow(o Options, written map[string][]byte) (*Machine, []error) {
	m := &Machine{o: o, follows: true, fleet: newFleet()}
	m.o.Broken = nil // the leader checks the invariants
	return m, m.take(written)
}

// errFollows means that a Machine that follows can't execute commands.
var errFollows = errors.New("another server moves changes")

// follow is Step for a Machine that follows.
func (m *Machine) follow(e Event) {
	switch e := e.(type) {
	case Command:
		m.ready.Err = errFollows
		return
	case Rewritten:
		for _, err := range m.take(e.Values) {
			m.tell(nil, "of how far changes are something can't be used: %v", err)
		}
	case Wanted:
		if m.read(e.Set) {
			m.relate()
		}
	case Expected, Connected, Gone, Settled, Tick:
		e.apply(m)
	}
	m.expire()
	if m.replan && m.begun && m.wanted != nil {
		m.replan = false
		m.plan = m.newPlan()
		m.ready.Plan = m.plan
	}
}

// take updates a Machine that follows to the saved state.
func (m *Machine) take(written map[string][]byte) []error {
	next, r := restore(m.o, written, m.contents)
	if r.moved {
		// Another version wrote this, and computes hashes of contents differently. Its
		// changes mean the same.
		m.contents = nil
	} else {
		m.contents = r.items
	}
	next.follows, next.contents = true, m.contents
	next.wanted, next.fleet, next.plan = m.wanted, m.fleet, m.plan
	next.started, next.now, next.last, next.ready = m.started, m.now, m.last, m.ready
	next.altered = true // the definitions here may be older or newer
	*m = *next
	for _, c := range m.open {
		m.recount(c)
	}
	m.relate()
	return r.errs
}

// Apart returns the definitions that the desired state here has otherwise than the leader
// has it, by Key: those that are in force in another form or not at all and come with no
// open change, and those that are in force and not defined here. It leaves out what a
// rollback holds back, and filters whose module is not here yet. For a Machine that leads,
// there are none.
func (m *Machine) Apart() []Key {
	if !m.follows || !m.begun || m.wanted == nil {
		return nil
	}
	leader := map[Key][]string{} // hashes
	for key, i := range m.base {
		leader[key] = append(leader[key], i.Hash)
	}
	for _, c := range m.open {
		for _, d := range c.Diffs {
			if d.From == nil && m.base[d.Key] == nil {
				leader[d.Key] = append(leader[d.Key], "") // it may be absent
			}
			leader[d.Key] = append(leader[d.Key], hashIn(d.To))
		}
	}
	var apart []Key
	for key, hashes := range leader {
		w := m.wanted.items[key]
		_, held := m.held[key]
		if !held && (w == nil || w.Ready) && !slices.Contains(hashes, hashIn(w)) {
			apart = append(apart, key)
		}
	}
	for key, w := range m.wanted.items {
		_, held := m.held[key]
		if leader[key] == nil && !held && w.Ready {
			apart = append(apart, key)
		}
	}
	slices.SortFunc(apart, compareKeys)
	return apart
}

// relate replaces items in force by items of the definitions with the same meaning, so that
// what was compiled for one is reused for the other.
func (m *Machine) relate() {
	if m.wanted == nil {
		return
	}
	for key, i := range m.base {
		if w := m.wanted.items[key]; w != nil && w.Hash == i.Hash {
			m.base[key] = w
		}
	}
	for _, c := range m.open {
		for n, d := range c.Diffs {
			if w := m.wanted.items[d.Key]; w != nil && w.Hash == hashIn(d.To) {
				c.Diffs[n].To = w
			}
		}
	}
}
