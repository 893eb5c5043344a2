// Package envoys presents the Envoys of all replicas as if they were connected to one, so
// that people may ask any replica.
//
// Start with [New]. Each replica sends the others what they request, one page at a time.
// Nothing is stored, and nothing is sent unless somebody asks. The Envoys of a replica that
// lives but can't be reached are counted as it last reported them, but none of them as
// running the current version.
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

// Server reports the Envoys of one replica. [xds.Server] implements it.
type Server interface {
	Nodes(after string, limit int) (nodes []xds.NodeStatus, next string)
	Node(id string) (xds.NodeStatus, bool)
	Generation() uint64
	Summary() (xds.NodeCount, map[string]xds.FilterCount)

	Awaited() []definition.Node      // that are away and may come back
	Connected(ids []string) []string // returns those of ids that are connected
	Elsewhere(ids []string)          // records that they are connected to another replica
}

const (
	askEvery  = time.Second      // the interval of requests for counts
	askFor    = 15 * time.Second // how long after somebody last asked for the counts requests continue
	firstWait = time.Second      // for the first counts, when nobody asked for them before
	askTime   = 3 * time.Second  // the timeout of a request
	mostIDs   = 4096             // in one request
)

// All reports the Envoys of all replicas. It is safe for concurrent use.
type All struct {
	own   Server
	peers *replica.Peers
	poke  chan struct{} // holds a token when other replicas are to be asked at once

	mu         sync.Mutex
	asked      time.Time // when somebody last asked for counts
	told       chan struct{}
	generation uint64            // changes with the counts of other replicas
	counts     map[string]counts // by replica
	silent     map[string]bool   // replicas that have not answered
}

// counts are the counts of one replica.
type counts struct {
	Nodes   xds.NodeCount              `json:"nodes"`
	Filters map[string]xds.FilterCount `json:"filters"`
}

// New returns an All for own and the Envoys of peers, and registers its answers to them.
// Call it before peers.Serve.
func New(own Server, peers *replica.Peers) *All {
	a := &All{own: own, peers: peers, poke: make(chan struct{}, 1), told: make(chan struct{}), counts: map[string]counts{}}
	a.answer()
	return a
}

// Run requests counts from other replicas while somebody asks for them, and finds Envoys
// that are away at other replicas, until ctx ends.
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

// find finds Envoys that are away at other replicas.
func (a *All) find(ctx context.Context) {
	var ids []string
	for _, n := range a.own.Awaited() {
		if len(ids) < mostIDs { // if there are more, the selection differs each time
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

// count requests the counts of other replicas.
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

// unsure returns the counts of a replica that no longer confirms them.
func (c counts) unsure() counts {
	filters := maps.Clone(c.Filters)
	for name, f := range filters {
		f.Pending, f.Running = f.Pending+f.Running, 0
		filters[name] = f
	}
	c.Filters = filters
	return c
}

// answers reports whether a replica answered its last request.
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
