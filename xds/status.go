package xds

import (
	"slices"
	"sort"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// nodeStreams is what is known of a node id.
type nodeStreams struct {
	clients []*client // its streams, newest last
	had     bool      // one that ended had something, and none has told since what it brought
}

// newest is its newest stream. The caller holds the Server's mu.
func (r *nodeStreams) newest() *client { return r.clients[len(r.clients)-1] }

// NodeStatus is an Envoy that is connected, or was within the last hour, and what
// it runs. It is a part of the status document, as are the types in it.
type NodeStatus struct {
	ID             string                `json:"id"`
	Cluster        string                `json:"cluster"`
	Peer           string                `json:"peer,omitempty"` // address and port of its stream
	Labels         map[string]string     `json:"labels,omitempty"`
	Protocol       string                `json:"protocol,omitempty"` // "delta" or "sotw"
	Version        string                `json:"version,omitempty"`  // of Envoy, as it says; "": it does not, or is away
	Replica        string                `json:"replica,omitempty"`  // the server that it is connected to, of several; "": this one
	ConnectedSince time.Time             `json:"connectedSince,omitzero"`
	AwaySince      time.Time             `json:"awaySince,omitzero"` // when its last stream was open; zero: it is connected
	Awaited        bool                  `json:"awaited,omitempty"`  // it is away, and may still come back by itself
	Filters        []swap.FilterStatus   `json:"filters"`
	Listeners      []swap.ListenerStatus `json:"listeners,omitempty"`
	NACKs          []NACK                `json:"nacks,omitempty"` // the newest, oldest first
}

// Nodes gives up to limit nodes, connected or away, with ids after the given
// one, in the order of ids, and the id to go on after ("": no more). A limit of
// 0 gives all.
func (s *Server) Nodes(after string, limit int) (nodes []NodeStatus, next string) {
	s.mu.Lock()
	ids := make([]string, 0, len(s.nodes)+len(s.away.nodes))
	for id := range s.nodes {
		if id > after {
			ids = append(ids, id)
		}
	}
	for id := range s.away.nodes {
		if id > after {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	if limit > 0 && len(ids) > limit {
		ids, next = ids[:limit], ids[limit-1]
	}
	tell := make([]func() NodeStatus, 0, len(ids))
	for _, id := range ids {
		status, _ := s.teller(id)
		tell = append(tell, status)
	}
	s.mu.Unlock()
	nodes = make([]NodeStatus, 0, len(tell))
	for _, status := range tell {
		nodes = append(nodes, status())
	}
	return nodes, next
}

// Node gives a node by its id.
func (s *Server) Node(id string) (NodeStatus, bool) {
	s.mu.Lock()
	status, ok := s.teller(id)
	s.mu.Unlock()
	if !ok {
		return NodeStatus{}, false
	}
	return status(), true
}

// teller tells of a node, without the lock. The caller holds s.mu.
func (s *Server) teller(id string) (status func() NodeStatus, ok bool) {
	now := s.now()
	if rec := s.nodes[id]; rec != nil {
		c := rec.newest()
		return func() NodeStatus { return c.status(now) }, true
	}
	if away := s.away.nodes[id]; away != nil {
		g, published := *away, s.published
		return func() NodeStatus { return g.status(published) }, true
	}
	return nil, false
}

// status tells what the node was to have; what it has is not known.
func (g *gone) status(p *Publication) NodeStatus {
	n := NodeStatus{
		ID: g.node.ID, Cluster: g.node.Cluster, Labels: g.node.Labels,
		AwaySince: g.seen, Awaited: g.awaited, Filters: []swap.FilterStatus{},
	}
	reason := "it has disconnected, and is no longer waited for"
	if g.awaited {
		reason = "it has disconnected, and may reconnect"
	}
	for _, f := range g.filters(p) {
		n.Filters = append(n.Filters, swap.FilterStatus{Name: f.Name, Wanted: f.Version, State: swap.Away, Reason: reason})
	}
	return n
}

func (g *gone) filters(p *Publication) []*resource.Filter {
	if p == nil {
		return nil
	}
	return p.Snapshot(g.node).Filters
}

func (c *client) status(now time.Time) NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return NodeStatus{
		ID: c.node.ID, Cluster: c.node.Cluster, Labels: c.node.Labels,
		Peer: c.addr.String(), Protocol: protocol(c.delta), Version: c.version, ConnectedSince: c.since,
		Filters: c.filters(now), Listeners: c.machine.Listeners(now), NACKs: slices.Clone(c.nacks),
	}
}

// FilterCount is how many connected nodes are to have a filter, and how far they
// are. Those that do not ask for it are not among them.
// Nodes = Running + Pending + Failed.
type FilterCount struct {
	Nodes   int `json:"nodes"`
	Running int `json:"running"` // what is wanted
	Pending int `json:"pending"`
	Failed  int `json:"failed"`
	Away    int `json:"away,omitempty"`  // more that are to have it, and are awaited
	Ready   int `json:"ready,omitempty"` // more that have it, in no listener
	// Draining are those of Nodes on which older connections do not have it yet.
	Draining int `json:"draining,omitempty"`
}

// Plus is both together.
func (n FilterCount) Plus(o FilterCount) FilterCount {
	return FilterCount{
		Nodes: n.Nodes + o.Nodes, Running: n.Running + o.Running, Pending: n.Pending + o.Pending,
		Failed: n.Failed + o.Failed, Away: n.Away + o.Away, Ready: n.Ready + o.Ready, Draining: n.Draining + o.Draining,
	}
}

// NodeCount is how many nodes there are.
type NodeCount struct {
	Connected int `json:"connected"`
	Behind    int `json:"behind"`   // of these: those that lack a listener, route, cluster or the like as it is wanted
	Draining  int `json:"draining"` // of these: those with connections that go on with a listener that was replaced
	Away      int `json:"away"`     // not connected, but within the last hour
	Awaited   int `json:"awaited"`  // of these: those that may still come back by themselves
}

// Plus is both together.
func (n NodeCount) Plus(o NodeCount) NodeCount {
	return NodeCount{
		Connected: n.Connected + o.Connected, Behind: n.Behind + o.Behind, Draining: n.Draining + o.Draining,
		Away: n.Away + o.Away, Awaited: n.Awaited + o.Awaited,
	}
}

// Summary counts nodes, in all and for each filter by state.
func (s *Server) Summary() (NodeCount, map[string]FilterCount) {
	s.mu.Lock()
	count := NodeCount{Connected: len(s.nodes), Away: len(s.away.nodes), Awaited: s.away.awaited}
	clients := make([]*client, 0, len(s.nodes))
	for _, rec := range s.nodes {
		clients = append(clients, rec.newest())
	}
	var awaited []*gone
	for _, g := range s.away.nodes {
		if g.awaited {
			awaited = append(awaited, g)
		}
	}
	published, now := s.published, s.now()
	s.mu.Unlock()
	out := map[string]FilterCount{}
	var drained time.Time
	for _, c := range clients {
		c.mu.Lock()
		filters, listeners := c.filters(now), c.machine.Listeners(now)
		if !c.machine.Settled() {
			count.Behind++
		}
		c.mu.Unlock()
		if draining, until := drainingUntil(filters, listeners); draining {
			count.Draining++
			drained = sooner(drained, until)
		}
		for _, f := range filters {
			n := out[f.Name]
			n.add(f.State)
			if f.Draining != nil {
				n.Draining++
			}
			out[f.Name] = n
		}
	}
	for _, g := range awaited {
		for _, f := range g.filters(published) {
			n := out[f.Name]
			n.add(swap.Away)
			out[f.Name] = n
		}
	}
	s.drained.set(drained)
	return count, out
}

func (n *FilterCount) add(state swap.State) {
	switch state {
	case swap.Unasked:
		return
	case swap.Unplaced:
		n.Ready++
		return
	case swap.Away:
		n.Away++
		return
	case swap.Running:
		n.Running++
	case swap.Failed:
		n.Failed++
	default:
		n.Pending++
	}
	n.Nodes++
}
