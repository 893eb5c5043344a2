package admin

import (
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// FleetOf is the fleet that s serves.
func FleetOf(s *xds.Server) Fleet { return xdsFleet{s} }

type xdsFleet struct{ server *xds.Server }

func (f xdsFleet) Nodes(after string, limit int) ([]Node, string) {
	all, next := f.server.Nodes(after, limit)
	nodes := make([]Node, 0, len(all))
	for i := range all {
		nodes = append(nodes, nodeOf(&all[i]))
	}
	return nodes, next
}

// Node looks among the ids that begin as id does: those that sort between all
// but its last byte and itself.
func (f xdsFleet) Node(id string) (Node, bool) {
	if id == "" {
		return Node{}, false
	}
	for after := id[:len(id)-1]; ; {
		some, next := f.server.Nodes(after, maxNodes)
		for i := range some {
			if some[i].ID >= id {
				return nodeOf(&some[i]), some[i].ID == id
			}
		}
		if next == "" {
			return Node{}, false
		}
		after = next
	}
}

func (f xdsFleet) Generation() uint64 { return f.server.Generation() }

func (f xdsFleet) Summary() (Envoys, map[string]Count) {
	nodes, filters := f.server.Summary()
	counts := map[string]Count{}
	for name, c := range filters {
		counts[name] = Count(c)
	}
	return Envoys(nodes), counts
}

func nodeOf(n *xds.NodeStatus) Node {
	out := Node{
		ID: n.ID, Cluster: n.Cluster, Labels: n.Labels, Peer: n.Peer,
		Protocol: n.Protocol, ConnectedSince: n.ConnectedSince, AwaySince: n.AwaySince, Awaited: n.Awaited,
		Filters: make([]NodeFilter, 0, len(n.Filters)),
	}
	for _, fs := range n.Filters {
		out.Filters = append(out.Filters, filterOf(fs))
	}
	for _, l := range n.Listeners {
		out.Listeners = append(out.Listeners, NodeListener(l))
	}
	for _, k := range n.NACKs {
		out.NACKs = append(out.NACKs, NACK(k))
	}
	return out
}

func filterOf(f swap.FilterStatus) NodeFilter {
	return NodeFilter{
		Name: f.Name, Wanted: f.Wanted, Running: f.Running,
		State: State(f.State), Reason: f.Reason, Since: f.Since,
	}
}
