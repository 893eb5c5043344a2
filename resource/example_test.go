package resource_test

import (
	"fmt"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// A Catalog is compiled from each complete set, reusing the previous Catalog:
// what did not change keeps its pointer.
func ExampleCompile() {
	web := &definition.Listener{
		Name:    "web",
		Address: "127.0.0.1:8080",
		Routes: []definition.Route{{
			Prefix:    "/",
			Upstreams: []definition.Upstream{{Address: "127.0.0.1:9000", Weight: 1}},
		}},
	}
	hello := &definition.Filter{Name: "hello", Attach: definition.Attach{
		Nodes:     definition.Selector{Clusters: []string{"edge"}},
		Listeners: []definition.ListenerMatch{{Names: []string{"web"}}},
	}}
	set := &module.Set{
		Listeners: []*definition.Listener{web},
		Filters: []*module.Filter{{
			Definition: hello,
			Wanted:     hello,
			Module:     module.Info{SHA256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
			State:      module.Good,
		}},
	}
	opts := resource.Options{ModulesURL: "http://127.0.0.1:18001"}
	edge := definition.Node{ID: "edge-1", Cluster: "edge"}
	other := definition.Node{ID: "other-1", Cluster: "other"}

	first, problems := resource.Compile(nil, resource.Sets{Base: set}, opts)
	fmt.Println(len(problems.Base), "problems")
	fmt.Println("edge:", first.Snapshot(edge, "").Listeners[0].Filters)
	fmt.Println("other:", first.Snapshot(other, "").Listeners[0].Filters)

	changed := *hello
	changed.RootID = "another"
	f := *set.Filters[0]
	f.Definition = &changed
	next, _ := resource.Compile(first, resource.Sets{Base: &module.Set{Listeners: set.Listeners, Filters: []*module.Filter{&f}}}, opts)
	fmt.Println("edge changed:", next.Snapshot(edge, "") != first.Snapshot(edge, ""))
	fmt.Println("other changed:", next.Snapshot(other, "") != first.Snapshot(other, ""))
	// Output:
	// 0 problems
	// edge: [hello]
	// other: []
	// edge changed: true
	// other changed: false
}
