// Package envoys tells of the Envoys of all servers of a state as if they were
// connected to one, so that it does not matter which of them people ask.
//
// Start with [New]. Each server tells the others what they ask for, a page at a time;
// nothing is stored, and nothing is sent while nobody asks. Who can't be reached, and
// still lives, has its Envoys counted as it last told, but none of them as running
// what is wanted.
package envoys

import (
	"context"
	"maps"
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/replica"
	"wasmxds/xds"
)

// Server has the Envoys of one server. An [xds.Server] is one.
type Server interface {
	Nodes(after string, limit int) (nodes []xds.NodeStatus, next string)
	Node(id string) (xds.NodeStatus, bool)
	Generation() uint64
	Summary() (xds.NodeCount, map[string]xds.FilterCount)

	Awaited() []definition.Node      // that are away, and may come back
	Connected(ids []string) []string // those of them that are
	Elsewhere(ids []string)          // they are connected to another server
}

const (
	askEvery  = time.Second      // others are asked for what they count
	askFor    = 15 * time.Second // after anybody has wanted to know that last
	firstWait = time.Second      // for what others count, when nobody wanted to know before
	askTime   = 3 * time.Second  // that they may take
	mostIDs   = 4096             // asked for at once
)

// All are the Envoys of all servers. It is safe for concurrent use.
type All struct {
	own   Server
	peers *replica.Peers
	poke  chan struct{} // holds a token when others are to be asked now

	mu         sync.Mutex
	asked      time.Time // when anybody wanted to know last
	told       chan struct{}
	generation uint64            // another when others count something else
	counts     map[string]counts // by server
	silent     map[string]bool   // servers that have not answered
}

// counts is what a server counts.
type counts struct {
	Nodes   xds.NodeCount              `json:"nodes"`
	Filters map[string]xds.FilterCount `json:"filters"`
}

// New makes an All of a server's own Envoys and those of its peers, whom it answers from
// now on. It is for before the peers are served.
func New(own Server, peers *replica.Peers) *All {
	a := &All{own: own, peers: peers, poke: make(chan struct{}, 1), told: make(chan struct{}), counts: map[string]counts{}}
	a.answer()
	return a
}

// Run asks others while anybody wants to know of them, and finds out which Envoys that
// are away have gone to another server, until ctx ends.
func (a *All) Run(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.poke:
		}
		a.find(ctx)
		a.mu.Lock()
		wanted := time.Since(a.asked) < askFor
		a.mu.Unlock()
		if wanted {
			a.count(ctx)
		}
	}
}

// find finds Envoys that are away at other servers.
func (a *All) find(ctx context.Context) {
	var ids []string
	for _, n := range a.own.Awaited() {
		if len(ids) < mostIDs { // which of more they are is another each time
			ids = append(ids, n.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, there := range replica.CallAll[[]string, []string](ctx, a.peers, havePath, ids) {
		if there.Err == nil {
			a.own.Elsewhere(there.Is)
		}
	}
}

// count asks others for their counts.
func (a *All) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers := replica.CallAll[struct{}, counts](ctx, a.peers, countsPath, struct{}{})
	next, silent := make(map[string]counts, len(answers)), map[string]bool{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range answers {
		silent[c.Of.ID] = c.Err != nil
		if c.Err == nil {
			next[c.Of.ID] = c.Is
		} else if last, known := a.counts[c.Of.ID]; known {
			next[c.Of.ID] = last.unsure()
		}
	}
	if !maps.EqualFunc(a.counts, next, counts.equal) {
		a.generation++
	}
	a.counts, a.silent = next, silent
	close(a.told)
	a.told = make(chan struct{})
}

func (c counts) equal(o counts) bool { return c.Nodes == o.Nodes && maps.Equal(c.Filters, o.Filters) }

// unsure is what a server has counted that does not say so any more.
func (c counts) unsure() counts {
	filters := maps.Clone(c.Filters)
	for name, f := range filters {
		f.Pending, f.Running = f.Pending+f.Running, 0
		filters[name] = f
	}
	c.Filters = filters
	return c
}

// answers says whether a server is worth to be waited for.
func (a *All) answers(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.silent[id]
}

// Generation implements admin.Fleet.
func (a *All) Generation() uint64 {
	a.mu.Lock()
	first := time.Since(a.asked) >= askFor
	a.asked = time.Now()
	told := a.told
	a.mu.Unlock()
	if first {
		select {
		case a.poke <- struct{}{}:
		default:
		}
		select {
		case <-told:
		case <-time.After(firstWait):
		}
	}
	own := a.own.Generation()
	a.mu.Lock()
	defer a.mu.Unlock()
	return own + a.generation
}

// Summary implements admin.Fleet.
func (a *All) Summary() (xds.NodeCount, map[string]xds.FilterCount) {
	nodes, filters := a.own.Summary()
	filters = maps.Clone(filters)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.counts {
		nodes = nodes.Plus(c.Nodes)
		for name, more := range c.Filters {
			filters[name] = filters[name].Plus(more)
		}
	}
	return nodes, filters
}
