package xds

import (
	"slices"
	"sort"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// nodeStreams is the state of a connected node ID.
type nodeStreams struct {
	clients []*client // its streams, newest last
	had     bool      // an ended stream had something that it was sent, and no later one has listed yet what it has
}

// newest returns the newest stream. The caller holds the Server's mu.
func (r *nodeStreams) newest() *client { return r.clients[len(r.clients)-1] }

// NodeStatus describes an Envoy that is connected, or was within the last hour, and what it
// runs. It is a part of the status document, as are the types of its fields.
type NodeStatus struct {
	ID             string                `json:"id"`
	Cluster        string                `json:"cluster"`
	Peer           string                `json:"peer,omitempty"` // address and port of its stream
	Labels         map[string]string     `json:"labels,omitempty"`
	Protocol       string                `json:"protocol,omitempty"` // "delta" or "sotw"
	Version        string                `json:"version,omitempty"`  // of Envoy, as reported by itself; "": not reported, or away
	Replica        string                `json:"replica,omitempty"`  // the replica that it is connected to; "": this one
	ConnectedSince time.Time             `json:"connectedSince,omitzero"`
	AwaySince      time.Time             `json:"awaySince,omitzero"` // when its last stream was open; zero: it is connected
	Awaited        bool                  `json:"awaited,omitempty"`  // it is away, and may still come back by itself
	Filters        []swap.FilterStatus   `json:"filters"`
	Listeners      []swap.ListenerStatus `json:"listeners,omitempty"`
	NACKs          []NACK                `json:"nacks,omitempty"` // the newest ones, oldest first
}

// Nodes returns up to limit nodes, connected or away, with IDs after the given one, in the
// order of IDs, and the ID to continue after ("": no more). If limit is 0, it returns all.
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

// Node returns a node by its ID.
func (s *Server) Node(id string) (NodeStatus, bool) {
	s.mu.Lock()
	status, ok := s.teller(id)
	s.mu.Unlock()
	if !ok {
		return NodeStatus{}, false
	}
	return status(), true
}

// teller returns a function that returns the status of a node, without the lock. The caller
// holds s.mu.
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

// status returns what the node was supposed to have; what it has is unknown.
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

// FilterCount counts the connected nodes that should have a filter, by state. Nodes that do
// not ask for it are not included. Nodes = Running + Pending + Failed.
type FilterCount struct {
	Nodes   int `json:"nodes"`
	Running int `json:"running"` // the current version
	Pending int `json:"pending"`
	Failed  int `json:"failed"`
	Away    int `json:"away,omitempty"`  // additional nodes that should have it, and are awaited
	Ready   int `json:"ready,omitempty"` // additional nodes that have it, but in no listener
	// Draining is how many of Nodes have older connections that do not use it yet.
	Draining int `json:"draining,omitempty"`
}

// Plus returns the sum of both.
func (n FilterCount) Plus(o FilterCount) FilterCount {
	return FilterCount{
		Nodes: n.Nodes + o.Nodes, Running: n.Running + o.Running, Pending: n.Pending + o.Pending,
		Failed: n.Failed + o.Failed, Away: n.Away + o.Away, Ready: n.Ready + o.Ready, Draining: n.Draining + o.Draining,
	}
}

// NodeCount counts nodes.
type NodeCount struct {
	Connected int `json:"connected"`
	Behind    int `json:"behind"`   // of these, those that lack a listener, route, cluster or other resource in its current version
	Draining  int `json:"draining"` // of these, those with connections that continue with a listener that was replaced
	Away      int `json:"away"`     // not connected, but within the last hour
	Awaited   int `json:"awaited"`  // of these, those that may still come back by themselves
}

// Plus returns the sum of both.
func (n NodeCount) Plus(o NodeCount) NodeCount {
	return NodeCount{
		Connected: n.Connected + o.Connected, Behind: n.Behind + o.Behind, Draining: n.Draining + o.Draining,
		Away: n.Away + o.Away, Awaited: n.Awaited + o.Awaited,
	}
}

// Summary counts nodes, in total, and for each filter by state.
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
