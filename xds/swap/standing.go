package swap

import (
	"slices"
	"strings"

	"wasmxds/resource"
)

// What an Envoy has and lacks is a matter of its views, its names and its
// snapshot. Machines that share them share the answer, which is kept with the
// view: with ten thousand of them it is found out once.

// whole tells whether a view is all that is wanted.
type whole struct {
	snap     *resource.Snapshot
	names    *names
	wildcard bool
	is       bool
}

// complete tells whether the Envoy has all of a type that it asks for, and
// nothing that is gone. It is not for ECDS.
func (m *Machine) complete(t Type) bool {
	s := &m.subs[t]
	if t == Extension || s.nonce == 0 && len(s.have.items) == 0 {
		return false // a fresh Envoy is answered in any case
	}
	if w := s.have.whole.Load(); w != nil && w.snap == m.snap && w.names == s.names && w.wildcard == s.wildcard {
		return w.is
	}
	w := &whole{snap: m.snap, names: s.names, wildcard: s.wildcard, is: m.hasAll(t) && len(m.obsolete(t)) == 0}
	s.have.whole.Store(w)
	return w.is
}

// hasAll tells whether the Envoy has all that it asks for and can get.
func (m *Machine) hasAll(t Type) bool {
	s := &m.subs[t]
	if s.names != nil {
		for _, name := range s.names.sorted {
			if it, ok := m.lookup(t, name); ok && !s.have.has(it) {
				return false
			}
		}
	}
	return !s.wildcard || !slices.ContainsFunc(m.every(t), func(r *resource.Resource) bool { return !s.have.has(plain(r)) })
}

func (v *View) has(it item) bool {
	have, ok := v.find(it.name)
	return ok && have.is(it)
}

// unprimed are the filters of a snapshot that are not primed, in its order.
type unprimed struct {
	snap    *resource.Snapshot
	lds     bool   // whether listeners come from here
	names   *names // where they don't
	filters []*resource.Filter
}

// unprimed looks at what this Envoy has to be primed with.
func (m *Machine) unprimed() []*resource.Filter {
	s := &m.subs[Extension]
	if len(m.dirty) > 0 { // which filters were NACKed is this Envoy's own
		return slices.DeleteFunc(slices.Clone(m.snap.Filters), m.primed)
	}
	u := &unprimed{snap: m.snap, lds: m.subs[Listener].subscribed}
	if !u.lds {
		u.names = s.names
	}
	if old := s.have.unprimed.Load(); old != nil && old.snap == u.snap && old.lds == u.lds && old.names == u.names {
		return old.filters
	}
	for _, f := range m.snap.Filters {
		if !m.primed(f) {
			u.filters = append(u.filters, f)
		}
	}
	s.have.unprimed.Store(u)
	return u.filters
}

// behind are the serving slots that are not, or not surely, as a snapshot
// wants them.
type behind struct {
	snap  *resource.Snapshot
	names *names
	lds   bool
	slots []string
}

// behind looks at the slots that this Envoy asks for.
func (m *Machine) behind() []string {
	s := &m.subs[Extension]
	if len(m.dirty) > 0 {
		return slices.DeleteFunc(slices.Clone(s.names.sorted), isTwin)
	}
	b := &behind{snap: m.snap, names: s.names, lds: m.subs[Listener].subscribed}
	if old := s.have.behind.Load(); old != nil && old.snap == b.snap && old.names == b.names && old.lds == b.lds {
		return old.slots
	}
	for _, name := range s.names.sorted {
		if !isTwin(name) && !m.asWanted(name) {
			b.slots = append(b.slots, name)
		}
	}
	s.have.behind.Store(b)
	return b.slots
}

// asWanted tells whether a slot, and its twin if there is one, have what the
// snapshot wants.
func (m *Machine) asWanted(name string) bool {
	s := &m.subs[Extension]
	want, ok := m.lookup(Extension, name)
	if !ok {
		return false
	}
	have, ok := s.have.find(name)
	if !ok || have.version != want.version {
		return false
	}
	if want.filter == nil {
		return true
	}
	point, ok := s.have.find(m.point(want.filter))
	return ok && point.version == want.version
}

func isTwin(name string) bool { return strings.HasPrefix(name, resource.TwinPrefix) }
