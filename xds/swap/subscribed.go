package swap

// Subscribed is how many names of a type the Envoy asks for.
func (m *Machine) Subscribed(t Type) int {
	if names := m.subs[t].names; names != nil {
		return len(*names)
	}
	return 0
}
