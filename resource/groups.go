package resource

import (
	"sync"
	"weak"
)

// groups has a Snapshot for each group of nodes, for as long as somebody uses
// it: which groups there are is for nodes to say, by their labels.
type groups struct {
	mu    sync.Mutex
	m     map[string]*group
	sweep int // size at which those that nobody uses are next swept out
}

type group struct {
	building sync.Mutex
	snapshot weak.Pointer[Snapshot]
}

const minSweep = 64

func newGroups() *groups { return &groups{m: make(map[string]*group), sweep: minSweep} }

// get gives the group's Snapshot, and has it built where nobody has it. Who asks
// for another group does not wait for that.
func (gs *groups) get(name string, build func() *Snapshot) *Snapshot {
	g := gs.group(name)
	g.building.Lock()
	defer g.building.Unlock()
	if s := g.snapshot.Value(); s != nil {
		return s
	}
	s := build()
	g.snapshot = weak.Make(s)
	return s
}

func (gs *groups) group(name string) *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.m[name]
	if g == nil {
		if len(gs.m) >= gs.sweep {
			gs.tidy()
		}
		g = new(group)
		gs.m[name] = g
	}
	return g
}

// tidy forgets what nobody uses. The caller holds gs.mu.
func (gs *groups) tidy() {
	for name, g := range gs.m {
		if !g.used() {
			delete(gs.m, name)
		}
	}
	gs.sweep = max(minSweep, 2*len(gs.m))
}

// used tells whether somebody has the Snapshot, or is about to.
func (g *group) used() bool {
	if !g.building.TryLock() {
		return true
	}
	defer g.building.Unlock()
	return g.snapshot.Value() != nil
}

// take takes over the groups of which same is true.
func (gs *groups) take(from *groups, same func(name string) bool) {
	from.mu.Lock()
	defer from.mu.Unlock()
	for name, g := range from.m {
		if same(name) && g.used() {
			gs.m[name] = g
		}
	}
	gs.sweep = max(minSweep, 2*len(gs.m))
}
