package signal

import (
	"slices"
	"sync"
	"time"
)

// What is kept of each node that is watched: forty minutes. A block has some 700
// bytes at 200 requests a second.
const (
	// MaxWatched is how many nodes may be watched.
	MaxWatched = 64
	maxBlocks  = 600
	// Of these the first stay, with how a wave began that was not watched for as long
	// before; then the oldest goes.
	firstBlocks = 225
)

// Counts keeps what the nodes tell that are watched. It is safe for concurrent
// use.
type Counts struct {
	mu    sync.Mutex
	nodes map[string]*node
}

// node is what one node told.
type node struct {
	blocks []Block // ended, oldest first; they don't change
	open   Block
	isOpen bool
	tally  tally // of open
}

// NewCounts makes one that watches nobody.
func NewCounts() *Counts { return &Counts{nodes: map[string]*node{}} }

// Watch makes these nodes those that are watched, no more than [MaxWatched] of
// them, and forgets what was told before a time. What others told is forgotten.
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

// Add adds samples that came in at a time. Those of nodes that are not watched
// are left out.
func (c *Counts) Add(name string, at time.Time, samples []Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[name]
	if n == nil {
		return
	}
	n.advance(at)
	if at.Before(n.open.Start) {
		at = n.open.Start // of a worker that was behind
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

// advance ends the open block, if a time is after it, and begins the one that
// the time is in.
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

// add adds a block that has ended. Where there is one of the same time, each has a
// part of what the node told.
func (n *node) add(b Block) {
	i, there := slices.BinarySearchFunc(n.blocks, b.Start, func(o Block, at time.Time) int { return o.Start.Compare(at) })
	switch {
	case i == len(n.blocks):
		n.blocks = append(n.blocks, b)
	case there:
		n.blocks = slices.Clone(n.blocks) // who was given them has them as they were
		n.blocks[i] = n.blocks[i].and(&b)
	default:
		n.blocks = slices.Insert(slices.Clone(n.blocks), i, b)
	}
	if len(n.blocks) > maxBlocks {
		n.blocks = slices.Concat(n.blocks[:firstBlocks], n.blocks[firstBlocks+1:])
	}
}

// AddBlocks adds what another took of a node, in blocks that have ended. Those of
// nodes that are not watched are left out.
func (c *Counts) AddBlocks(name string, blocks []Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.nodes[name]; n != nil {
		for _, b := range blocks {
			n.add(b)
		}
	}
}

// Take gives what the nodes have told by now in blocks that have ended, by node, and
// keeps none of them: they are another's to keep.
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

// Envoy gives what a node has told by now, in whole blocks; nothing of one that
// is not watched. Who asks adds what else is known of it.
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
