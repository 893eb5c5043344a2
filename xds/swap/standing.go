package swap

import (
	"slices"
	"strings"

	"wasmxds/resource"
)

// standing is what an Envoy with a view of ECDS lacks. Machines that share the
// view share it: with ten thousand of them it is found out once.
type standing struct {
	snap  *resource.Snapshot
	names *[]string
	lds   bool // whether listeners come from here

	unprimed []*resource.Filter // in the snapshot's order
	behind   []string           // serving slots that are not, or not surely, as wanted
}

// standing looks at what this Envoy has. It does not know of NACKs.
func (m *Machine) standing() *standing {
	s := &m.subs[Extension]
	lds := m.subs[Listener].subscribed
	if st := s.have.standing.Load(); st != nil && st.snap == m.snap && st.names == s.names && st.lds == lds {
		return st
	}
	st := &standing{snap: m.snap, names: s.names, lds: lds}
	for _, f := range m.snap.Filters {
		if have, ok := s.have.find(m.point(f)); !ok || have.version != f.Version {
			st.unprimed = append(st.unprimed, f)
		}
	}
	if s.names != nil {
		for _, name := range *s.names {
			if !isTwin(name) && !m.asWanted(name) {
				st.behind = append(st.behind, name)
			}
		}
	}
	s.have.standing.Store(st)
	return st
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

// unprimed are the filters that are not primed, in the snapshot's order.
func (m *Machine) unprimed() []*resource.Filter {
	if len(m.dirty) == 0 {
		return m.standing().unprimed
	}
	var out []*resource.Filter
	for _, f := range m.snap.Filters {
		if !m.primed(f) {
			out = append(out, f)
		}
	}
	return out
}

// behind are the serving slots that may need something.
func (m *Machine) behind() []string {
	if len(m.dirty) == 0 {
		return m.standing().behind
	}
	return slices.DeleteFunc(slices.Clone(*m.subs[Extension].names), isTwin)
}

func isTwin(name string) bool { return strings.HasPrefix(name, resource.TwinPrefix) }
