package xds

import (
	"slices"
	"sort"
	"time"

	"wasmxds/definition"
	"wasmxds/xds/swap"
)

// record is what is known of a node id.
type record struct {
	clients []*client // its streams, newest last
}

// NodeStatus is an Envoy and what it runs.
type NodeStatus struct {
	definition.Node
	Peer           string // address and port of its stream
	Protocol       string // "delta" or "sotw"
	ConnectedSince time.Time
	Filters        []swap.FilterStatus
	Listeners      []swap.ListenerStatus
	NACKs          []NACK // the newest, oldest first
}

// Nodes gives up to limit connected nodes with ids after the given one, in the
// order of ids, and the id to go on after ("": no more). A limit of 0 gives all.
func (s *Server) Nodes(after string, limit int) (nodes []NodeStatus, next string) {
	s.mu.Lock()
	ids := make([]string, 0, len(s.nodes))
	for id := range s.nodes {
		if id > after {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	if limit > 0 && len(ids) > limit {
		ids, next = ids[:limit], ids[limit-1]
	}
	clients := make([]*client, 0, len(ids))
	for _, id := range ids {
		rec := s.nodes[id]
		clients = append(clients, rec.clients[len(rec.clients)-1])
	}
	s.mu.Unlock()
	nodes = make([]NodeStatus, 0, len(clients))
	for _, c := range clients {
		nodes = append(nodes, c.status(s.now()))
	}
	return nodes, next
}

func (c *client) status(now time.Time) NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return NodeStatus{
		Node: c.node, Peer: c.addr.String(), Protocol: protocol(c.delta), ConnectedSince: c.since,
		Filters: c.machine.Filters(now), Listeners: c.machine.Listeners(), NACKs: slices.Clone(c.nacks),
	}
}

// FilterCount is how a filter fares in the fleet, in nodes that ask for it.
type FilterCount struct{ Nodes, Running, Pending, Failed int }

// Summary counts, for each filter, the connected nodes by state.
func (s *Server) Summary() map[string]FilterCount {
	s.mu.Lock()
	clients := make([]*client, 0, len(s.nodes))
	for _, rec := range s.nodes {
		clients = append(clients, rec.clients[len(rec.clients)-1])
	}
	s.mu.Unlock()
	out := map[string]FilterCount{}
	for _, c := range clients {
		c.mu.Lock()
		filters := c.machine.Filters(s.now())
		c.mu.Unlock()
		for _, f := range filters {
			if f.State == swap.Unasked {
				continue
			}
			n := out[f.Name]
			n.Nodes++
			switch f.State {
			case swap.Running:
				n.Running++
			case swap.Failed:
				n.Failed++
			default:
				n.Pending++
			}
			out[f.Name] = n
		}
	}
	return out
}
