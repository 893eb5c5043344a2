package admin

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

const sceneYAML = `
kind: WasmFilter
name: hello
module: {url: hello.wasm}
config: {header: X-my-custom-header, value: %s}
rootID: myapp-root-in
attach: {direction: inbound}
---
kind: WasmFilter
name: quota
module: {url: quota.wasm}
config: {requests: 100}
order: -1
onFailure: open
attach: {listeners: [web]}
---
kind: Listener
name: web
address: 127.0.0.1:8080
direction: inbound
routes:
- {prefix: /api, upstream: "127.0.0.1:9001"}
- {prefix: /, upstream: "127.0.0.1:9000"}
---
kind: Listener
name: internal
address: 127.0.0.1:8081
nodes: {clusters: [edge]}
routes:
- {prefix: /, upstream: "127.0.0.1:9002"}
`

// scene is a Server with a fleet that the test changes.
type scene struct {
	t       *testing.T
	Server  *Server
	catalog *resource.Catalog
	values  int

	mu    sync.Mutex
	nodes fleet
	ahead time.Duration // offset of the clock

	generation uint64
}

func (s *scene) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// later advances the clock so that the fleet is read again.
func (s *scene) later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += fresh
}

func (s *scene) Nodes(after string, limit int) ([]xds.NodeStatus, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes.Nodes(after, limit)
}

func (s *scene) Node(id string) (xds.NodeStatus, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes.Node(id)
}

// Generation changes with each call, because tests change the scene at any
// time.
func (s *scene) Generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	return s.generation
}

func (s *scene) Summary() (xds.NodeCount, map[string]xds.FilterCount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes.Summary()
}

// newScene returns a scene with a definition and n Envoys that run it.
func newScene(t *testing.T, n int) *scene {
	s := &scene{t: t}
	s.Server = New(Options{Version: "v0.1.0", Fleet: s, Now: s.now})
	s.load("hello world")
	for i := range n {
		s.nodes = append(s.nodes, xds.NodeStatus{
			ID: fmt.Sprintf("edge-%02d", i+1), Cluster: "edge", Peer: fmt.Sprintf("127.0.0.1:%d", 40000+i),
			Labels: map[string]string{"app": "web"}, Protocol: "delta", ConnectedSince: time.Now().Add(-time.Hour),
		})
		s.run(i)
	}
	return s
}

// load publishes the definitions with a value of the header.
func (s *scene) load(value string, problems ...definition.Problem) {
	s.t.Helper()
	s.values++
	file, found := definition.Parser{}.Parse("/etc/wasmxds/filters.yaml", fmt.Appendf(nil, sceneYAML, value))
	if file == nil {
		s.t.Fatal(found)
	}
	set, found := definition.Merge([]*definition.File{file})
	if len(found) > 0 {
		s.t.Fatal(found)
	}
	modules := &module.Set{Listeners: set.Listeners}
	for _, f := range set.Filters {
		sha := strings.Repeat(fmt.Sprintf("%x%d", f.Name[0], 7), 32)[:64]
		if f.Name == "hello" {
			sha = strings.Repeat(fmt.Sprintf("5fe1a%d", s.values), 11)[:64]
		}
		modules.Filters = append(modules.Filters, &module.Filter{
			Definition: f, Wanted: f, State: module.Good, Module: module.Info{SHA256: sha, Size: 2_718_281, ABI: "0.2.1"}})
	}
	catalog, wrong := resource.Compile(s.catalog, resource.Sets{Base: modules}, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(wrong.Base) > 0 {
		s.t.Fatal(wrong)
	}
	s.catalog = catalog
	s.Server.Loaded(Loaded{Set: modules, Catalog: xds.Publication{Catalog: s.catalog}, Problems: problems, Files: 1, Changed: time.Now()})
}

// run makes an Envoy run what is wanted.
func (s *scene) run(i int) {
	s.change(i, func(n *xds.NodeStatus, snapshot *resource.Snapshot) {
		n.Filters, n.Listeners = nil, nil
		for _, f := range snapshot.Filters {
			n.Filters = append(n.Filters, swap.FilterStatus{Name: f.Name, Wanted: f.Version, Running: f.Version, State: swap.Running, Since: time.Now()})
		}
		for _, l := range snapshot.Listeners {
			n.Listeners = append(n.Listeners, swap.ListenerStatus{Name: l.Name, Wanted: l.Version, Running: l.Version})
		}
	})
}

// behind sets the state of an Envoy that should run the newest hello.
func (s *scene) behind(i int, state swap.State, reason string) {
	s.change(i, func(n *xds.NodeStatus, snapshot *resource.Snapshot) {
		n.Filters[0].Wanted, n.Filters[0].State, n.Filters[0].Reason = snapshot.Filters[0].Version, state, reason
	})
}

func (s *scene) change(i int, to func(*xds.NodeStatus, *resource.Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[i]
	n.Filters, n.Listeners = append([]swap.FilterStatus(nil), n.Filters...), append([]swap.ListenerStatus(nil), n.Listeners...)
	to(&n, s.catalog.Snapshot(definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels}, ""))
	s.nodes = slices.Clone(s.nodes) // slices that were returned must not change
	s.nodes[i] = n
}
