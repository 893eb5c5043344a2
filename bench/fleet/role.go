package fleet

// Role is how an Envoy behaves.
type Role uint8

const (
	Steady   Role = iota
	Stalled       // when it is ready, it stops reading
	Refusing      // it rejects every filter of a revision above Options.RefuseAbove
	Restless      // it connects again every second or two
	roles
)

func (r Role) String() string { return [...]string{"steady", "stalled", "refusing", "restless"}[r] }
