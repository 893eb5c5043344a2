package swap

import (
	"maps"
	"slices"
)

// ResourceStatus describes a resource that an Envoy has or subscribes to.
type ResourceStatus struct {
	Type    Type
	Name    string
	Wanted  string // version; "": no resource has this name
	Has     string // version that it last ACKed; "": none
	Sent    bool   // the wanted version was sent and not answered yet
	Refused bool   // it NACKed what it was last sent
	Message string // of that NACK
}

// Resources returns the status of everything that the Envoy has or subscribes to, by type
// and name.
func (m *Machine) Resources() []ResourceStatus {
	var out []ResourceStatus
	for t := range Types {
		s := &m.subs[t]
		if !s.subscribed {
			continue
		}
		for _, name := range m.concerned(t) {
			st := ResourceStatus{Type: t, Name: name}
			if want, ok := m.lookup(t, name); ok {
				st.Wanted = want.Version
			}
			if have, ok := s.have.Find(name); ok {
				st.Has = have.Version
			}
			if f := s.flight; f != nil {
				st.Sent = slices.ContainsFunc(f.Changed, func(it item) bool { return it.Name == name })
			}
			st.Message, st.Refused = m.refused(t, name, st.Wanted)
			out = append(out, st)
		}
	}
	return out
}

// concerned returns the names that Envoy has or subscribes to.
func (m *Machine) concerned(t Type) []string {
	s := &m.subs[t]
	names := map[string]bool{}
	for _, it := range s.have.Items {
		names[it.Name] = true
	}
	if s.names != nil {
		for _, n := range s.names.Sorted {
			names[n] = n != "*"
		}
	}
	if s.wildcard {
		for _, r := range m.every(t) {
			names[r.Name] = true
		}
	}
	maps.DeleteFunc(names, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(names))
}

// refused returns the message of the NACK of what was sent last.
func (m *Machine) refused(t Type, name, wanted string) (message string, refused bool) {
	r := m.refusal(t, name)
	if r != nil && r.version == wanted && (t != Extension || r.written) {
		return r.message, true
	}
	if t != Extension || !slices.Contains(m.poisoned, name) {
		return "", false
	}
	if p := m.priming(filterOf(name)); p != nil {
		return p.Message, true
	}
	if r != nil {
		return r.message, true
	}
	return "", true
}
