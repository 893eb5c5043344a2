package envoys

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/replica"
	"wasmxds/replica/replicatest"
	"wasmxds/state"
	"wasmxds/state/local"
	"wasmxds/xds"
)

// server has the Envoys of a server: their IDs, where "-" means that they are away.
type server struct {
	mu         sync.Mutex
	ids        []string
	generation uint64
}

func (s *server) set(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = ids
	s.generation++
}

func (s *server) all() []xds.NodeStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []xds.NodeStatus
	for _, id := range s.ids {
		n := xds.NodeStatus{ID: strings.TrimPrefix(id, "-")}
		if n.ID != id {
			n.AwaySince, n.Awaited = time.Unix(1, 0), true
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b xds.NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return all
}

func (s *server) Nodes(after string, limit int) (nodes []xds.NodeStatus, next string) {
	for _, n := range s.all() {
		if n.ID <= after {
			continue
		}
		if len(nodes) == limit {
			return nodes, nodes[limit-1].ID
		}
		nodes = append(nodes, n)
	}
	return nodes, ""
}

func (s *server) Node(id string) (xds.NodeStatus, bool) {
	for _, n := range s.all() {
		if n.ID == id {
			return n, true
		}
	}
	return xds.NodeStatus{}, false
}

func (s *server) Generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

func (s *server) Summary() (c xds.NodeCount, filters map[string]xds.FilterCount) {
	f := xds.FilterCount{}
	for _, n := range s.all() {
		if n.Awaited {
			c.Away, c.Awaited, f.Away = c.Away+1, c.Awaited+1, f.Away+1
		} else {
			c.Connected, f.Nodes, f.Running = c.Connected+1, f.Nodes+1, f.Running+1
		}
	}
	return c, map[string]xds.FilterCount{"hello": f}
}

func (s *server) Awaited() (nodes []definition.Node) {
	for _, n := range s.all() {
		if n.Awaited {
			nodes = append(nodes, definition.Node{ID: n.ID})
		}
	}
	return nodes
}

func (s *server) Connected(ids []string) (there []string) {
	for _, n := range s.all() {
		if !n.Awaited && slices.Contains(ids, n.ID) {
			there = append(there, n.ID)
		}
	}
	return there
}

func (s *server) Elsewhere(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = slices.DeleteFunc(slices.Clone(s.ids), func(id string) bool { return slices.Contains(ids, strings.TrimPrefix(id, "-")) })
	s.generation++
}

// joined runs a replica; stop ends what others can reach.
func joined(t *testing.T, store state.Store, id string, s *server) (a *All, stop func()) {
	t.Helper()
	_, stop = replicatest.Serve(t, store, id, func(p *replica.Peers) []func(context.Context) {
		a = New(s, p)
		return []func(context.Context){a.Run}
	})
	return a, stop
}

func eventually(t *testing.T, is func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// counted waits until a replica has the wanted counts.
func counted(t *testing.T, a *All, want xds.NodeCount, filter xds.FilterCount) {
	t.Helper()
	eventually(t, func() error {
		a.Generation()
		if nodes, filters := a.Summary(); nodes != want || filters["hello"] != filter {
			return fmt.Errorf("counts %+v, %+v, want %+v, %+v", nodes, filters, want, filter)
		}
		return nil
	})
}

// TestAll checks that each replica reports the Envoys of all, one that has moved only with
// its new replica, and that none is counted as running that isn't known to run.
func TestAll(t *testing.T) {
	store, err := local.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var of [3]server
	of[0].set("a", "d", "-gone")
	of[1].set("b", "c")
	of[2].set("e")
	var all [3]*All
	var stop [3]func()
	for i := range all {
		all[i], stop[i] = joined(t, store, fmt.Sprint("server-", i), &of[i])
	}
	for _, a := range all {
		counted(t, a, xds.NodeCount{Connected: 5, Away: 1, Awaited: 1}, xds.FilterCount{Nodes: 5, Running: 5, Away: 1})
		for _, limit := range []int{1, 2, 3, 100} {
			var ids []string
			for after := ""; ; {
				nodes, next := a.Nodes(after, limit)
				for _, n := range nodes {
					ids = append(ids, n.ID)
				}
				if next == "" || len(nodes) > limit {
					break
				}
				after = next
			}
			if got := strings.Join(ids, " "); got != "a b c d e gone" {
				t.Errorf("pages of %d: %s", limit, got)
			}
		}
	}
	if n, there := all[0].Node("e"); !there || n.Replica != "server-2" {
		t.Errorf("told %+v", n)
	}
	if n, there := all[0].Node("a"); !there || n.Replica != "" {
		t.Errorf("told %+v", n)
	}
	if _, there := all[0].Node("nobody"); there {
		t.Error("there is nobody")
	}

	before := all[1].Generation()
	of[0].set("-a", "d", "-gone")
	of[1].set("b", "c", "a") // it was here before the other replica noticed that it left
	for _, a := range all {
		counted(t, a, xds.NodeCount{Connected: 5, Away: 1, Awaited: 1}, xds.FilterCount{Nodes: 5, Running: 5, Away: 1})
	}
	if n, there := all[2].Node("a"); !there || n.Replica != "server-1" || n.Awaited {
		t.Errorf("told %+v", n)
	}
	if all[1].Generation() == before {
		t.Error("nothing has changed")
	}

	stop[1]()
	counted(t, all[0], xds.NodeCount{Connected: 5, Away: 1, Awaited: 1}, xds.FilterCount{Nodes: 5, Running: 2, Pending: 3, Away: 1})
}

func TestMerged(t *testing.T) {
	node := func(id string) xds.NodeStatus {
		if is, away := strings.CutPrefix(id, "-"); away {
			return xds.NodeStatus{ID: is, AwaySince: time.Unix(1, 0)}
		}
		return xds.NodeStatus{ID: id}
	}
	for _, c := range []struct {
		name, nodes string
		ends        string // of each replica; .: it has sent everything
		limit       int
		want, next  string
	}{
		{"none", "", ".", 2, "", ""},
		{"all", "c a b", ". .", 5, "a b c", ""},
		{"as many as there may be", "c a b", ". .", 3, "a b c", ""},
		{"one more", "c a b", ". .", 2, "a b", "b"},
		{"a server that may have more", "a b c d", "b .", 5, "a b", "b"},
		{"two that may", "a b c d", "c b", 5, "a b", "b"},
		{"a short page of who has long ones", "a c d", "a .", 5, "a", "a"},
		{"connected to one and away of the other", "-a a b", ". .", 5, "a b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var nodes []xds.NodeStatus
			for id := range strings.FieldsSeq(c.nodes) {
				nodes = append(nodes, node(id))
			}
			got, next := merged(nodes, strings.Fields(strings.ReplaceAll(c.ends, ".", "")), c.limit)
			var ids []string
			for _, n := range got {
				ids = append(ids, n.ID)
				if !n.AwaySince.IsZero() {
					t.Errorf("%s is told to be away", n.ID)
				}
			}
			if strings.Join(ids, " ") != c.want || next != c.next {
				t.Errorf("%v, next %q; want %s, %q", ids, next, c.want, c.next)
			}
		})
	}
}

// TestEncoded checks that an answer has a size limit, but at least one node.
func TestEncoded(t *testing.T) {
	var nodes []xds.NodeStatus
	for i := range 5 {
		nodes = append(nodes, xds.NodeStatus{ID: fmt.Sprint(i), Peer: strings.Repeat("x", pageBytes/3)})
	}
	nodes[2].Peer += strings.Repeat("x", 2*pageBytes)
	for _, c := range []struct {
		from, want int
		next       string
	}{{0, 2, "1"}, {2, 1, "2"}, {3, 2, "end"}} {
		p, err := encoded(nodes[c.from:], "end")
		if err != nil || len(p.Nodes) != c.want || p.Next != c.next {
			t.Errorf("from %d: %d nodes, next %q, %v", c.from, len(p.Nodes), p.Next, err)
		}
	}
}
