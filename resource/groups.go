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
	gone     bool // it is in no groups any more
}

const minSweep = 64

func newGroups() *groups { return &groups{m: make(map[string]*group), sweep: minSweep} }

// get gives the group's Snapshot, and has it built where nobody has it. Who asks
// for another group does not wait for that.
func (gs *groups) get(name string, build func() *Snapshot) *Snapshot {
	for {
		if s := gs.group(name).get(build); s != nil {
			return s
		}
	}
}

// get gives nil where the group was forgotten just now.
func (g *group) get(build func() *Snapshot) *Snapshot {
	g.building.Lock()
	defer g.building.Unlock()
	if g.gone {
		return nil
	}
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
			gs.forget()
		}
		g = new(group)
		gs.m[name] = g
	}
	return g
}

// tidy forgets what nobody uses.
func (gs *groups) tidy() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.forget()
}

// forget is tidy for a caller that holds gs.mu.
func (gs *groups) forget() {
	for name, g := range gs.m {
		if g.unused() {
			delete(gs.m, name)
		}
	}
	gs.sweep = max(minSweep, 2*len(gs.m))
}

// unused tells whether nobody has the Snapshot, or is about to. Then it is gone.
func (g *group) unused() bool {
	if !g.building.TryLock() {
		return false
	}
	defer g.building.Unlock()
	g.gone = g.snapshot.Value() == nil
	return g.gone
}
