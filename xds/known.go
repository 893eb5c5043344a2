package xds

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/state"
)

// knownNode is the saved form of a node that was served.
type knownNode struct {
	ID      string            `json:"id"`
	Cluster string            `json:"cluster,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Seen    time.Time         `json:"seen"`           // when it last had a stream
	Away    time.Duration     `json:"away,omitempty"` // how long it had been away when this was saved; 0: it was connected
}

func (n *knownNode) node() definition.Node {
	return definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels}
}

// knownNodes saves which nodes were served, for the next process: as many as are remembered
// while they are away. It is guarded by the Server's mu.
type knownNodes struct {
	kept  state.View // knownNode, by node ID
	seed  maphash.Seed
	nodes map[string]keptNode
	bytes int
	away  int // number of nodes that are away
}

type keptNode struct {
	bytes int
	away  bool
	here  bool   // it is saved as one that has a stream
	sum   uint64 // of its saved cluster and labels
}

func newKnownNodes(kept state.View) knownNodes {
	return knownNodes{kept: kept, seed: maphash.MakeSeed(), nodes: map[string]keptNode{}}
}

// put saves a node, if there is room.
func (k *knownNodes) put(n knownNode, away bool) bool {
	before, there := k.nodes[n.ID]
	total := n.node().Size()
	if !there && len(k.nodes) >= awayMost || k.bytes-before.bytes+total > awayBytes {
		return false
	}
	k.note(n, away)
	k.kept.Put(n.ID, n)
	return true
}

// note counts a node that is saved.
func (k *knownNodes) note(n knownNode, away bool) {
	k.count(n.ID, keptNode{n.node().Size(), away, n.Away == 0 && !away, k.sum(n.node())})
}

// stays reports whether a node is saved, unchanged, as one that has a stream. It can then
// disconnect and reconnect without a write each time.
func (k *knownNodes) stays(n definition.Node, away bool) bool {
	now, there := k.nodes[n.ID]
	if !there || !now.here || now.sum != k.sum(n) {
		return false
	}
	now.away = away
	k.count(n.ID, now)
	return true
}

// sum returns a hash of the cluster and labels.
func (k *knownNodes) sum(n definition.Node) uint64 {
	sum := maphash.String(k.seed, n.Cluster)
	for label, value := range n.Labels {
		sum += maphash.Comparable(k.seed, [2]string{label, value})
	}
	return sum
}

func (k *knownNodes) count(id string, n keptNode) {
	k.uncount(id)
	k.nodes[id] = n
	k.bytes += n.bytes
	if n.away {
		k.away++
	}
}

func (k *knownNodes) uncount(id string) {
	n := k.nodes[id]
	k.bytes -= n.bytes
	if n.away {
		k.away--
	}
	delete(k.nodes, id)
}

func (k *knownNodes) remove(id string) {
	if _, there := k.nodes[id]; there {
		k.uncount(id)
		k.kept.Remove(id)
	}
}

// load loads the nodes that the previous process saved.
func (a *away) load(ctx context.Context, now time.Time, log *slog.Logger) {
	state.Each(ctx, a.known.kept, "which Envoys were here", func(key string, n knownNode) error {
		switch {
		case n.ID == "" || n.Away < 0 || n.ID != key:
			return errors.New("it is no node")
		case n.Away >= awayKeep:
			a.known.kept.Remove(key)
		default:
			a.known.note(n, true)
			a.put(&gone{node: n.node(), had: true, seen: n.Seen, since: now.Add(-n.Away)}, now)
		}
		return nil
	})
	if len(a.nodes) > 0 {
		log.Info("Envoys were here before: they are away until they connect", "nodes", len(a.nodes))
	}
}

// keep saves a node, in place of those that have been away for longest. It never replaces
// nodes that have a stream.
func (a *away) keep(n knownNode, away bool) {
	if !a.known.kept.Keeps() || a.known.put(n, away) || a.known.away == 0 {
		return
	}
	var oldest []*gone
	for id, g := range a.nodes {
		if a.known.nodes[id].away {
			oldest = append(oldest, g)
		}
	}
	slices.SortFunc(oldest, func(x, y *gone) int { return x.since.Compare(y.since) })
	for i, g := range oldest { // remove many at once, because each time all are sorted
		if i >= awayMost/10 && a.known.put(n, away) {
			return
		}
		a.known.remove(g.node.ID)
	}
	a.known.put(n, away)
}

// keepAll saves the final state when the server terminates.
func (s *Server) keepAll(now time.Time) {
	all := s.known(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range all {
		s.away.keep(n, s.nodes[n.ID] == nil)
	}
}
