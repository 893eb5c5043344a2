package signal

import (
	"slices"
	"sync"
	"time"
)

// Limits of what is kept for each observed node: forty minutes. A block takes about 700
// bytes at 200 requests a second.
const (
	// MaxWatched is how many nodes may be observed at a time.
	MaxWatched = 64
	maxBlocks  = 600
	// The first of these stay, because they show how a wave began that was not observed for
	// as long before; then the oldest is removed.
	firstBlocks = 225
)

// Counts stores the samples of observed nodes. It is safe for concurrent use.
type Counts struct {
	mu    sync.Mutex
	nodes map[string]*node
}

// node contains the samples of one node.
type node struct {
	blocks []Block // ended, oldest first; immutable
	open   Block
	isOpen bool
	tally  tally // of open
}

// NewCounts returns a Counts that observes no nodes.
func NewCounts() *Counts { return &Counts{nodes: map[string]*node{}} }

// Watch replaces the observed nodes, of which it uses at most the first [MaxWatched]. It
// removes all blocks of other nodes, and those that began before since.
func (c *Counts) Watch(nodes []string, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	watched := make(map[string]*node, len(nodes))
	for _, name := range nodes {
		if len(watched) == MaxWatched {
			break
		}
		n := c.nodes[name]
		if n == nil {
			n = &node{}
		}
		n.forget(since)
		watched[name] = n
	}
	c.nodes = watched
}

func (n *node) forget(since time.Time) {
	n.blocks = slices.DeleteFunc(slices.Clone(n.blocks), func(b Block) bool { return b.Start.Before(since) })
}

// Add adds samples that arrived at a time. It ignores those of nodes that are not observed.
func (c *Counts) Add(name string, at time.Time, samples []Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[name]
	if n == nil {
		return
	}
	n.advance(at)
	if at.Before(n.open.Start) {
		at = n.open.Start // from a worker that was late
	}
	p := &n.open.Parts[at.Sub(n.open.Start)*parts/BlockTime]
	for _, s := range samples {
		p.Requests++
		if s.Error {
			p.Errors++
		}
		n.tally.add(s.Latency, 1)
	}
}

// advance ends the open block if at is after it, and opens the block that contains at.
func (n *node) advance(at time.Time) {
	n.end(at)
	if !n.isOpen {
		n.open, n.isOpen = Block{Start: at.Truncate(BlockTime)}, true
	}
}

func (n *node) end(at time.Time) {
	if !n.isOpen || at.Before(n.open.Start.Add(BlockTime)) {
		return
	}
	n.open.Latencies = n.tally.latencies()
	n.isOpen, n.tally = false, tally{}
	n.add(n.open)
}

// add adds a block that has ended. If there is one of the same time, it adds the two up.
func (n *node) add(b Block) {
	i, there := slices.BinarySearchFunc(n.blocks, b.Start, func(o Block, at time.Time) int { return o.Start.Compare(at) })
	switch {
	case i == len(n.blocks):
		n.blocks = append(n.blocks, b)
	case there:
		n.blocks = slices.Clone(n.blocks) // earlier callers of Envoy keep the old slice
		n.blocks[i] = n.blocks[i].and(&b)
	default:
		n.blocks = slices.Insert(slices.Clone(n.blocks), i, b)
	}
	if len(n.blocks) > maxBlocks {
		n.blocks = slices.Concat(n.blocks[:firstBlocks], n.blocks[firstBlocks+1:])
	}
}

// AddBlocks adds blocks of a node that have ended and that another replica has collected.
// It ignores those of nodes that are not observed.
func (c *Counts) AddBlocks(name string, blocks []Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.nodes[name]; n != nil {
		for _, b := range blocks {
			n.add(b)
		}
	}
}

// Take returns and removes all blocks that have ended by now, by node, for another replica
// to keep.
func (c *Counts) Take(now time.Time) map[string][]Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string][]Block{}
	for name, n := range c.nodes {
		if n.end(now); len(n.blocks) > 0 {
			all[name], n.blocks = n.blocks, nil
		}
	}
	return all
}

// Envoy returns the blocks of a node that have ended by now; none if the node is not
// observed. The caller adds what else is known about the Envoy.
func (c *Counts) Envoy(name string, now time.Time) Envoy {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := Envoy{Node: name}
	if n := c.nodes[name]; n != nil {
		n.end(now)
		e.Blocks = slices.Clip(n.blocks)
	}
	return e
}
