package swap

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/resource"
)

// ResourceStatus is a resource that an Envoy has or asks for.
type ResourceStatus struct {
	Type    Type
	Name    string
	Wanted  string // version; "": there is none of this name
	Has     string // version that it ACKed last; "": none
	Sent    bool   // it was sent what is wanted, and has not answered
	Refused bool   // it NACKed what it was sent last
	Message string // of that NACK
}

// Resources tells of all that the Envoy has or asks for, by type and name.
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
				st.Wanted = want.version
			}
			if have, ok := s.have.find(name); ok {
				st.Has = have.version
			}
			if f := s.flight; f != nil {
				st.Sent = slices.ContainsFunc(f.changed, func(it item) bool { return it.name == name })
			}
			st.Message, st.Refused = m.refusal(t, name, st.Wanted)
			out = append(out, st)
		}
	}
	return out
}

// concerned are the names that Envoy has or asks for.
func (m *Machine) concerned(t Type) []string {
	s := &m.subs[t]
	names := map[string]bool{}
	for _, it := range s.have.items {
		names[it.name] = true
	}
	if s.names != nil {
		for _, n := range s.names.sorted {
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

// every is all of a type in the snapshot that has a fixed content.
func (m *Machine) every(t Type) []*resource.Resource {
	switch t {
	case Cluster:
		return m.snap.Clusters
	case Listener:
		var all []*resource.Resource
		for _, l := range m.snap.Listeners {
			all = append(all, l.Resource)
		}
		if m.snap.Primer != nil {
			all = append(all, m.snap.Primer.Resource)
		}
		return all
	case Extension:
		return m.snap.Static
	}
	return m.all(t)
}

// refusal is the message of the NACK of what was sent last.
func (m *Machine) refusal(t Type, name, wanted string) (message string, refused bool) {
	if t == Extension {
		if tr := m.try(t, name); tr != nil && tr.written && tr.version == wanted {
			return tr.message, true
		}
		if !slices.Contains(m.dirty, name) {
			return "", false
		}
		if tr := m.try(t, strings.TrimPrefix(name, resource.TwinPrefix)); tr != nil {
			message = tr.message
		}
		return message, true
	}
	if tr := m.try(t, name); tr != nil && tr.refused && tr.version == wanted {
		return tr.message, true
	}
	return "", false
}
