package resource

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
)

const (
	shaA = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	shaB = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
)

var opts = Options{ModulesURL: "http://127.0.0.1:18001"}

// wasm is a filter for every listener of every node.
func wasm(name, sha, config string) *module.Filter {
	value, err := anypb.New(wrapperspb.String(config))
	if err != nil {
		panic(err)
	}
	d := &definition.Filter{
		Name:      name,
		Pos:       definition.Position{File: name + ".yaml", Line: 1},
		Module:    definition.Module{URL: "file:///" + name + ".wasm", Fetch: definition.Mirror},
		Config:    value,
		Attach:    definition.Attach{Listeners: []definition.ListenerMatch{{}}},
		OnFailure: definition.Closed,
	}
	return &module.Filter{Definition: d, Wanted: d, Module: module.Info{SHA256: sha}, State: module.Good}
}

func web(name, address string) *definition.Listener {
	return &definition.Listener{
		Name:    name,
		Pos:     definition.Position{File: name + ".yaml", Line: 1},
		Address: address,
		Routes:  []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:9000", Weight: 1}}}},
	}
}

func mustCompile(t *testing.T, prev *Catalog, set *module.Set) *Catalog {
	t.Helper()
	c, problems := Compile(prev, set, opts)
	for _, p := range problems {
		t.Errorf("problem: %v", p)
	}
	return c
}

func TestSnapshot(t *testing.T) {
	c := mustCompile(t, nil, &module.Set{
		Filters:   []*module.Filter{wasm("hello", shaA, "x")},
		Listeners: []*definition.Listener{web("web", "127.0.0.1:8080")},
	})
	s := c.Snapshot(definition.Node{ID: "edge-1"})
	if len(s.Listeners) != 1 || strings.Join(s.Listeners[0].Slots, " ") != "hello" {
		t.Errorf("listeners: %+v", s.Listeners)
	}
	if len(s.Filters) != 1 || s.Primer == nil || s.Gate == nil {
		t.Errorf("filters: %+v", s)
	}
	text, err := Render(s, YAML)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
}
