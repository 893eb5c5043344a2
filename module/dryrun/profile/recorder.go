package profile

// Recorder creates a profile while a module runs. Its methods get the number of
// instructions that the module has executed so far. The zero value is ready to use.
type Recorder struct {
	profile Profile
	below   []map[string]int32 // for each node, the functions that it has called
	phases  map[string]int32
	phase   int32
	at      []int32 // the functions that are running, innermost last
	count   uint64  // number of instructions at the last call or return
}

// Bounds of the tree. Calls beyond them are counted for their caller. A sample of pprof
// contains its whole stack, so the size grows with the square of the depth of recursion.
const (
	maxNodes = 50_000
	maxDepth = 500
)

// Phase begins or continues a phase, in which no function is running yet.
func (r *Recorder) Phase(name string) {
	phase, known := r.phases[name]
	if !known {
		if r.phases == nil {
			r.phases = map[string]int32{}
		}
		phase = r.add(-1, name)
		r.phases[name] = phase
	}
	r.phase, r.at, r.count = phase, r.at[:0], 0
	r.profile.Nodes[phase].Calls++
}

// Enter records that a function is called.
func (r *Recorder) Enter(function string, now uint64) {
	r.spend(now)
	if r.phases == nil {
		r.Phase(Start)
	}
	above := r.phase
	if n := len(r.at); n > 0 {
		above = r.at[n-1]
	}
	below, known := r.below[above][function]
	switch {
	case known:
	case len(r.profile.Nodes) >= maxNodes, len(r.at) >= maxDepth:
		below = above
	default:
		below = r.add(above, function)
	}
	r.profile.Nodes[below].Calls++
	r.at = append(r.at, below)
}

// Leave records that the innermost function returns.
func (r *Recorder) Leave(now uint64) {
	r.spend(now)
	if n := len(r.at); n > 0 {
		r.at = r.at[:n-1]
	}
}

// Profile returns what was recorded. The Recorder must not be used afterwards.
func (r *Recorder) Profile() *Profile { return &r.profile }

// spend adds the instructions since the last call or return to the running function.
func (r *Recorder) spend(now uint64) {
	if n := len(r.at); n > 0 && now > r.count {
		r.profile.Nodes[r.at[n-1]].Instructions += now - r.count
	}
	r.count = now
}

func (r *Recorder) add(parent int32, function string) int32 {
	i := int32(len(r.profile.Nodes))
	r.profile.Nodes = append(r.profile.Nodes, Node{Parent: parent, Function: cut(function)})
	r.below = append(r.below, nil)
	if parent >= 0 {
		if r.below[parent] == nil {
			r.below[parent] = map[string]int32{}
		}
		r.below[parent][function] = i
	}
	return i
}
