package rollout

import "errors"

// Rewritten is all that is written down, as whoever leads has left it. It is for a
// Machine that follows.
type Rewritten struct{ Values map[string][]byte }

// Follow makes a Machine of what another has written down, which moves nothing and
// writes nothing: it has who gets what from what that one writes ([Rewritten]), and
// the rest from the files. While the other can't be heard it goes on as it is.
//
// Where nothing was written yet there is no Plan before something is.
func Follow(o Options, written map[string][]byte) (*Machine, []error) {
	m := &Machine{o: o, follows: true, fleet: newFleet()}
	m.o.Broken = nil // who leads keeps what must hold
	return m, m.take(written)
}

// errFollows: a Machine that follows can't be told to move anything.
var errFollows = errors.New("another server moves changes")

// follow is Step of a Machine that follows.
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

// take has a Machine that follows stand where what is written down stands.
func (m *Machine) take(written map[string][]byte) []error {
	next, r := restore(m.o, written, m.contents)
	if r.moved {
		// Another build wrote this, and names contents otherwise. What it says of
		// changes is the same.
		m.contents = nil
	} else {
		m.contents = r.items
	}
	next.follows, next.contents = true, m.contents
	next.wanted, next.fleet, next.plan = m.wanted, m.fleet, m.plan
	next.started, next.now, next.last, next.ready = m.started, m.now, m.last, m.ready
	next.altered = true // what the files say here may be older, or newer
	*m = *next
	for _, c := range m.open {
		m.recount(c)
	}
	m.relate()
	return r.errs
}

// relate has what is in force be what the files have of the same meaning: what was
// compiled of the one is taken over for the other.
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
