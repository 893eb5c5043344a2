package envoys

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"wasmxds/replica"
	"wasmxds/xds"
)

// Paths of requests about Envoys.
const (
	havePath   = "/peer/v1/envoys/connected"
	countsPath = "/peer/v1/envoys/counts"
	nodesPath  = "/peer/v1/envoys/nodes"
	nodePath   = "/peer/v1/envoys/node"
)

const (
	pageNodes = 500     // most nodes of one answer
	pageBytes = 8 << 20 // approximate size of one answer
)

// pageOf requests a page of nodes; see Nodes.
type pageOf struct {
	After string `json:"after"`
	Limit int    `json:"limit"`
}

type page struct {
	Nodes []json.RawMessage `json:"nodes"`
	Next  string            `json:"next,omitempty"`
}

// answer registers the answers to other replicas.
func (a *All) answer() {
	replica.On(a.peers, havePath, func(_ context.Context, _ replica.Member, ids []string) ([]string, error) {
		return a.own.Connected(ids[:min(len(ids), mostIDs)]), nil
	})
	replica.On(a.peers, countsPath, func(context.Context, replica.Member, struct{}) (counts, error) {
		nodes, filters := a.own.Summary()
		return counts{nodes, filters}, nil
	})
	replica.On(a.peers, nodesPath, func(_ context.Context, _ replica.Member, q pageOf) (page, error) {
		return encoded(a.own.Nodes(q.After, min(max(1, q.Limit), pageNodes)))
	})
	replica.On(a.peers, nodePath, func(_ context.Context, _ replica.Member, id string) ([]xds.NodeStatus, error) {
		n, there := a.own.Node(id)
		if !there {
			return nil, nil
		}
		return []xds.NodeStatus{n}, nil
	})
}

// encoded returns as much of a page as fits in one answer.
func encoded(nodes []xds.NodeStatus, next string) (page, error) {
	p := page{Next: next}
	size := 0
	for i := range nodes {
		b, err := json.Marshal(&nodes[i])
		if err != nil {
			return page{}, err
		}
		if size += len(b); size > pageBytes && i > 0 {
			p.Next = nodes[i-1].ID
			break
		}
		p.Nodes = append(p.Nodes, b)
	}
	return p, nil
}

// Nodes implements admin.Fleet. If several replicas know an Envoy, it is reported by the
// one that it is connected to.
func (a *All) Nodes(after string, limit int) (nodes []xds.NodeStatus, next string) {
	nodes, next = a.own.Nodes(after, limit)
	ends := []string{next}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	for _, answer := range replica.CallSome[pageOf, page](ctx, a.peers, nodesPath, pageOf{after, limit}, a.answers) {
		if answer.Err != nil {
			continue // the status shows that it does not answer
		}
		ends = append(ends, answer.Is.Next)
		for _, b := range answer.Is.Nodes {
			var n xds.NodeStatus
			if json.Unmarshal(b, &n) == nil { // an error means that its version of xds-server differs
				n.Replica = answer.Of.ID
				nodes = append(nodes, n)
			}
		}
	}
	return merged(nodes, ends, limit)
}

// merged merges pages of several replicas, up to the limit and the end of the shortest
// page.
func merged(nodes []xds.NodeStatus, ends []string, limit int) (first []xds.NodeStatus, next string) {
	slices.SortStableFunc(nodes, func(a, b xds.NodeStatus) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return a.AwaySince.Compare(b.AwaySince) // zero, which means connected, comes first
	})
	nodes = slices.CompactFunc(nodes, func(a, b xds.NodeStatus) bool { return a.ID == b.ID })
	for _, end := range ends { // this replica may have more nodes after it
		if end != "" && (next == "" || end < next) {
			next = end
		}
	}
	if next != "" {
		i, found := slices.BinarySearchFunc(nodes, next, func(n xds.NodeStatus, id string) int { return strings.Compare(n.ID, id) })
		if found {
			i++
		}
		nodes = nodes[:i]
	}
	if limit > 0 && len(nodes) > limit {
		nodes, next = nodes[:limit], nodes[limit-1].ID
	}
	return nodes, next
}

// Node implements admin.Fleet.
func (a *All) Node(id string) (xds.NodeStatus, bool) {
	n, there := a.own.Node(id)
	if there && n.AwaySince.IsZero() {
		return n, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	for _, answer := range replica.CallSome[string, []xds.NodeStatus](ctx, a.peers, nodePath, id, a.answers) {
		if answer.Err != nil || len(answer.Is) != 1 {
			continue
		}
		if other := answer.Is[0]; !there || other.AwaySince.IsZero() {
			n, there = other, true
			n.Replica = answer.Of.ID
		}
	}
	return n, there
}
