package swap

import "wasmxds/resource"

// Proved are the filters that the newest Step has seen put in place: this
// Envoy runs them.
func (m *Machine) Proved() []*resource.Filter { return m.proved }

// Stuck are the versions of filters that this Envoy refuses although it has
// their modules, or may have them, and of which it runs no other version.
func (m *Machine) Stuck() []string {
	var versions []string
	for _, tr := range m.tries {
		if tr.typ != Extension || !tr.refused || !tr.here && !tr.shared {
			continue
		}
		if _, runs := m.subs[Extension].have.find(tr.name); !runs {
			versions = append(versions, tr.version)
		}
	}
	return versions
}
