package rollout

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
)

// AwaitFor is how long an Envoy that has disconnected is expected to come back. A running
// Envoy reconnects at least every 30 s.
const AwaitFor = 2 * time.Minute

// node is an Envoy that is connected, or was a moment ago.
type node struct {
	definition.Node
	place     uint64
	connected bool
	expected  bool      // not seen since this process started, but known from before
	since     time.Time // since when it is known; zero: since before this process started
	left      time.Time // when it disconnected
	size      int       // in bytes, as it counts while it is not connected
	settled   Choice    // the changes that are completely in place on it
	unable    bool      // to report its requests
}

// byPlace orders all nodes.
func byPlace(a, b *node) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.ID, b.ID)) }

// fleet contains the nodes. Counts are updated with each event, so that no event has to
// look at all nodes.
type fleet struct {
	nodes     map[string]*node
	connected int
	gone      []departure // in order of time
	away      int         // size of those that are not connected
}

// mostAway is the size, as sizeOf counts it, of the nodes that are expected back: several
// hundred thousand with ordinary labels. With more, the oldest are forgotten, so that clients
// that connect under ever new names can't fill the memory.
const mostAway = 128 << 20

// sizeOf returns about how much a node takes, with its place in maps and lists.
func sizeOf(n *definition.Node) int { return n.Size() + 300 }

// keep counts a node that is not connected.
func (f *fleet) keep(n *node) {
	n.size = sizeOf(&n.Node)
	f.away += n.size
}

// release no longer counts a node.
func (f *fleet) release(n *node) {
	f.away -= n.size
	n.size = 0
}

// departure is a node that has disconnected. It has no effect if the node has come back
// since.
type departure struct {
	n  *node
	at time.Time
}

func newFleet() fleet { return fleet{nodes: map[string]*node{}} }

// change calls do, which changes a node, and updates the counts.
func (m *Machine) change(n *node, do func()) {
	m.tally(n, -1)
	do()
	m.tally(n, +1)
}

// tally adds a node to the counts of each change, or subtracts it.
func (m *Machine) tally(n *node, sign int) {
	for _, c := range m.open {
		m.tallyIn(c, n, sign)
	}
}

func (m *Machine) tallyIn(c *change, n *node, sign int) {
	if !c.counted || !c.concerns(&n.Node) {
		return
	}
	member := c.reaches() && c.Reached.has(&n.Node, n.place)
	switch {
	case n.expected:
		c.expected += sign
	case !n.connected:
		if member {
			c.away += sign
		}
	default:
		c.concerned += sign
		if !member {
			return
		}
		c.members += sign
		switch {
		case n.settled.Has(c.ID):
			c.settled += sign
		case !c.late(n):
			c.unsettled += sign
		}
	}
}

// late reports whether a node was first seen after the wave had begun. The wave does not
// wait for it, since in a large fleet there are always new nodes.
func (c *change) late(n *node) bool { return n.since.After(c.Waves[c.Wave-1].Began) }

// recount counts all nodes of a change again.
func (m *Machine) recount(c *change) {
	c.counted = true
	c.census = census{}
	for _, n := range m.fleet.nodes {
		m.tallyIn(c, n, +1)
	}
}

// unsettle forgets which nodes have shown that they run a change, because it has ended or
// starts again.
func (m *Machine) unsettle(c *change) {
	for _, n := range m.fleet.nodes {
		if n.settled.Has(c.ID) {
			n.settled = n.settled.without(c.ID)
		}
	}
}

// connect records a node.
func (m *Machine) connect(d definition.Node, expected bool) *node {
	n := m.fleet.nodes[d.ID]
	if n == nil {
		n = &node{Node: d, place: placeOf(d.ID)}
		if !expected {
			n.since = m.now
		}
		m.fleet.nodes[d.ID] = n
		m.place(n, expected)
		m.tally(n, +1)
		return n
	}
	m.change(n, func() { n.Node = d; m.place(n, expected) })
	return n
}

func (m *Machine) place(n *node, expected bool) {
	switch {
	case n.connected:
	case expected:
		n.expected, n.left = true, m.now
		m.fleet.keep(n)
		m.fleet.gone = append(m.fleet.gone, departure{n, m.now})
	default:
		n.connected, n.expected, n.left = true, false, time.Time{}
		m.fleet.connected++
		m.fleet.release(n)
	}
}

// disconnect records that a node's last stream has ended.
func (m *Machine) disconnect(n *node) {
	m.change(n, func() {
		n.connected, n.left = false, m.now
		m.fleet.connected--
		m.fleet.keep(n)
	})
	m.fleet.gone = append(m.fleet.gone, departure{n, m.now})
}

// expire forgets nodes that have been disconnected for too long, or that are too many.
func (m *Machine) expire() {
	for len(m.fleet.gone) > 0 {
		d := m.fleet.gone[0]
		back := d.n.connected || !d.n.left.Equal(d.at) || m.fleet.nodes[d.n.ID] != d.n
		if !back && m.now.Sub(d.at) < AwaitFor && m.fleet.away <= mostAway {
			if len(m.open) > 0 {
				m.wakeAt(d.at.Add(AwaitFor))
			}
			return
		}
		m.fleet.gone = m.fleet.gone[1:]
		if !back {
			m.tally(d.n, -1)
			delete(m.fleet.nodes, d.n.ID)
			m.fleet.release(d.n)
			delete(m.early, d.n.ID)
			m.returned(d.n.ID, "")
		}
	}
}

// members returns the connected nodes that should have a change.
func (m *Machine) members(c *change) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, n := range m.fleet.nodes {
			if n.connected && c.has(n) && !yield(n) {
				return
			}
		}
	}
}

// Choice is the open changes that a node has: their IDs, in order, joined by "+". The base
// alone is "".
type Choice string

// Has reports whether the choice contains a change.
func (c Choice) Has(id string) bool {
	return len(c) >= len(id) && strings.Contains(string(c), id)
}

func (c Choice) without(id string) Choice {
	var ids []string
	for _, one := range c.IDs() {
		if one != id {
			ids = append(ids, one)
		}
	}
	return choiceOf(ids)
}

// and returns the changes in both choices.
func (c Choice) and(other Choice) Choice {
	if c == other {
		return c
	}
	var ids []string
	for _, one := range c.IDs() {
		if slices.Contains(other.IDs(), one) {
			ids = append(ids, one)
		}
	}
	return choiceOf(ids)
}

// IDs returns the IDs of the changes.
func (c Choice) IDs() []string {
	if c == "" {
		return nil
	}
	return strings.Split(string(c), "+")
}

func choiceOf(ids []string) Choice { return Choice(strings.Join(ids, "+")) }
