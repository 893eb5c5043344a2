package rollout

// PlaceOf returns a node's place among all.
var PlaceOf = placeOf

// Brief is the part of a change that is cheap to copy.
type Brief struct {
	ID    string
	State State
	Wave  int
}

// Briefs returns the changes that are open and that have ended, and what is held back by
// which rollback.
func (m *Machine) Briefs() (changes []Brief, held []string) {
	for _, c := range append(append([]*change{}, m.open...), m.done...) {
		changes = append(changes, Brief{c.ID, c.State, c.Wave})
	}
	for _, h := range m.held {
		held = append(held, h.By)
	}
	return changes, held
}
