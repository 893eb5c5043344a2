package rollout

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
)

// AwaitFor is how long an Envoy that has gone is expected back. One that runs
// tries again at least every 30 s.
const AwaitFor = 2 * time.Minute

// node is an Envoy that is connected, or was a moment ago.
type node struct {
	definition.Node
	place     uint64
	connected bool
	expected  bool      // not seen since this server started, which knows it from before
	since     time.Time // from when on it is known; zero: from before this server started
	left      time.Time // when it went
	settled   Choice    // what all of is in place on it
	unable    bool      // to tell of its requests
}

// byPlace is the order of all.
func byPlace(a, b *node) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.ID, b.ID)) }

// fleet are the nodes. What is counted of them is kept up with each event, so that
// none has to look at all.
type fleet struct {
	nodes     map[string]*node
	connected int
	gone      []departure // in order of time
}

// departure is a node that went; where it has come back since, it means nothing.
type departure struct {
	n  *node
	at time.Time
}

func newFleet() fleet { return fleet{nodes: map[string]*node{}} }

// change has do change a node, and counts what comes of it.
func (m *Machine) change(n *node, do func()) {
	m.tally(n, -1)
	do()
	m.tally(n, +1)
}

// tally adds a node to what is counted of each change, or takes it away.
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

// late says whether a node was first seen when the wave had begun: the wave does
// not wait for it, since there is always somebody coming in a large fleet.
func (c *change) late(n *node) bool { return n.since.After(c.Waves[c.Wave-1].Began) }

// recount counts all nodes of a change anew.
func (m *Machine) recount(c *change) {
	c.counted = true
	c.census = census{}
	for _, n := range m.fleet.nodes {
		m.tallyIn(c, n, +1)
	}
}

// unsettle forgets that nodes have shown that they run a change: it is no more, or
// begins again.
func (m *Machine) unsettle(c *change) {
	for _, n := range m.fleet.nodes {
		if n.settled.Has(c.ID) {
			n.settled = n.settled.without(c.ID)
		}
	}
}

// connect notes that a node is there.
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
		m.fleet.gone = append(m.fleet.gone, departure{n, m.now})
	default:
		n.connected, n.expected, n.left = true, false, time.Time{}
		m.fleet.connected++
	}
}

// disconnect notes that a node's last stream has ended.
func (m *Machine) disconnect(n *node) {
	m.change(n, func() {
		n.connected, n.left = false, m.now
		m.fleet.connected--
	})
	m.fleet.gone = append(m.fleet.gone, departure{n, m.now})
}

// expire forgets nodes that have been gone for too long.
func (m *Machine) expire() {
	for len(m.fleet.gone) > 0 {
		d := m.fleet.gone[0]
		back := d.n.connected || !d.n.left.Equal(d.at) || m.fleet.nodes[d.n.ID] != d.n
		if !back && m.now.Sub(d.at) < AwaitFor {
			if len(m.open) > 0 {
				m.wakeAt(d.at.Add(AwaitFor))
			}
			return
		}
		m.fleet.gone = m.fleet.gone[1:]
		if !back {
			m.tally(d.n, -1)
			delete(m.fleet.nodes, d.n.ID)
			m.returned(d.n.ID, "")
		}
	}
}

// members are the connected nodes that are to have a change.
func (m *Machine) members(c *change) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, n := range m.fleet.nodes {
			if n.connected && c.has(n) && !yield(n) {
				return
			}
		}
	}
}

// Choice says which open changes a node has: their ids, in order, joined by "+".
// The base alone is "".
type Choice string

// Has says whether a change is among them.
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

// and is what is in both.
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

// IDs are those of the changes.
func (c Choice) IDs() []string {
	if c == "" {
		return nil
	}
	return strings.Split(string(c), "+")
}

func choiceOf(ids []string) Choice { return Choice(strings.Join(ids, "+")) }
