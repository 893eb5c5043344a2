package xds

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/state"
)

// An Envoy whose last stream has ended is away: it may still be running what it ran then. A
// running Envoy reconnects, at the latest after 30 s, so it is expected back for awaitFor.
// After awayKeep it is forgotten. Time without a running xds-server does not count.
const (
	awaitFor = 2 * time.Minute
	awayKeep = time.Hour

	// awayWrite is how long a node must be away before this is saved, because most come
	// back soon. After a crash, the next process treats such a node as one that has just
	// disconnected.
	awayWrite = 10 * time.Second

	awayMost  = 20_000   // nodes
	awayBytes = 32 << 20 // of their IDs, clusters and labels
)

// away contains the nodes that are away. It is part of a Server, and guarded by its mu.
type away struct {
	nodes   map[string]*gone // by node id
	bytes   int
	awaited int // number of awaited nodes
	known   knownNodes
}

// gone is a node that is away.
type gone struct {
	node    definition.Node
	had     bool      // it had something that it was sent
	seen    time.Time // when its last stream was open
	since   time.Time // the start of its time away
	awaited bool
}

// Awaited returns the nodes that are away and may still come back by themselves.
func (s *Server) Awaited() []definition.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes []definition.Node
	for _, g := range s.away.nodes {
		if g.awaited {
			nodes = append(nodes, g.node)
		}
	}
	return nodes
}

func newAway(kept state.View) *away {
	return &away{nodes: map[string]*gone{}, known: newKnownNodes(kept)}
}

// went records that the last stream of a node has ended.
func (a *away) went(n definition.Node, had bool, now time.Time) {
	g := &gone{node: n, had: had, seen: now, since: now}
	a.put(g, now)
	if !a.known.stays(n, true) {
		a.keep(g.known(now), true)
	}
}

// came records that a node has a stream.
func (a *away) came(n definition.Node, now time.Time) {
	a.drop(n.ID)
	if !a.known.stays(n, false) {
		a.keep(knownNode{n.ID, n.Cluster, n.Labels, now, 0}, false)
	}
}

// known returns its saved form. Its stream may have ended just after now was read.
func (g *gone) known(now time.Time) knownNode {
	return knownNode{g.node.ID, g.node.Cluster, g.node.Labels, g.seen, max(0, now.Sub(g.since))}
}

func (a *away) put(g *gone, now time.Time) {
	a.drop(g.node.ID)
	g.awaited = now.Sub(g.since) < awaitFor
	if g.awaited {
		a.awaited++
	}
	a.nodes[g.node.ID] = g
	a.bytes += g.node.Size()
	if len(a.nodes) <= awayMost && a.bytes <= awayBytes {
		return
	}
	// Remove many at once, because each time all nodes are sorted.
	oldest := slices.SortedFunc(maps.Values(a.nodes), func(x, y *gone) int { return x.since.Compare(y.since) })
	for i, o := range oldest {
		if i >= awayMost/10 && a.bytes <= awayBytes*9/10 {
			break
		}
		a.forget(o.node.ID)
	}
}

// forget removes a node, here and from the state.
func (a *away) forget(id string) {
	a.drop(id)
	a.known.remove(id)
}

func (a *away) drop(id string) {
	g := a.nodes[id]
	if g == nil {
		return
	}
	if g.awaited {
		a.awaited--
	}
	a.bytes -= g.node.Size()
	delete(a.nodes, id)
}

// pass processes the passing of time, and reports whether that has changed anything.
func (a *away) pass(now time.Time) bool {
	changed := false
	for id, g := range a.nodes {
		switch d := now.Sub(g.since); {
		case d >= awayKeep:
			a.forget(id)
			changed = true
		case d >= awaitFor && g.awaited:
			g.awaited = false
			a.awaited--
			a.keep(g.known(now), true)
			changed = true
		case d >= awayWrite && a.known.nodes[id].here:
			a.keep(g.known(now), true)
		}
	}
	return changed
}

// known returns all nodes that the next process should expect: those that have a stream,
// and those that are away, most recent first.
func (s *Server) known(now time.Time) []knownNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]knownNode, 0, len(s.nodes)+len(s.away.nodes))
	for _, rec := range s.nodes {
		n := rec.newest().node
		all = append(all, knownNode{n.ID, n.Cluster, n.Labels, now, 0})
	}
	for _, g := range s.away.nodes {
		all = append(all, g.known(now))
	}
	slices.SortFunc(all, func(x, y knownNode) int { return cmp.Compare(x.Away, y.Away) })
	return all
}
