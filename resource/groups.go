package resource

import (
	"sync"
	"weak"
)

// groups has a Snapshot for each group of nodes as long as somebody references
// it. It must not keep others, since the labels of nodes determine which groups
// there are.
type groups struct {
	mu    sync.Mutex
	m     map[string]*group
	sweep int // size at which unused groups are next removed
}

type group struct {
	building sync.Mutex
	snapshot weak.Pointer[Snapshot]
	gone     bool // it has been removed from groups
}

const minSweep = 64

func newGroups() *groups { return &groups{m: make(map[string]*group), sweep: minSweep} }

// get returns the Snapshot of a group, and builds it if nobody references it.
// Callers for other groups do not wait.
func (gs *groups) get(name string, build func() *Snapshot) *Snapshot {
	for {
		if s := gs.group(name).get(build); s != nil {
			return s
		}
	}
}

// get returns nil if the group has just been removed.
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

// tidy removes unused groups.
func (gs *groups) tidy() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.forget()
}

// forget is like tidy, for a caller that holds gs.mu.
func (gs *groups) forget() {
	for name, g := range gs.m {
		if g.unused() {
			delete(gs.m, name)
		}
	}
	gs.sweep = max(minSweep, 2*len(gs.m))
}

// unused reports whether nobody references the Snapshot or is building it. If
// so, it marks the group as removed.
func (g *group) unused() bool {
	if !g.building.TryLock() {
		return false
	}
	defer g.building.Unlock()
	g.gone = g.snapshot.Value() == nil
	return g.gone
}
