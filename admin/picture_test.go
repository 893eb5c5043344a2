package admin

import (
	"slices"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds"
)

// TestPictures checks that filters before the last network filter of a chain
// are drawn before the filters in it.
func TestPictures(t *testing.T) {
	file, problems := kinds.Parser().Parse("a.yaml", []byte(`{kind: Listener, name: db, address: "127.0.0.1:1", tcp: {upstreams: [{address: "127.0.0.1:2"}, {address: "127.0.0.1:3"}]}}
---
{kind: Listener, name: web, address: "127.0.0.1:4", routes: [{prefix: /, upstream: "127.0.0.1:5"}]}
---
{kind: WasmFilter, name: tap, module: {url: tap.wasm}, place: network}
---
{kind: WasmFilter, name: hello, module: {url: hello.wasm}}
`))
	if file == nil {
		t.Fatal(problems)
	}
	set := &module.Set{Listeners: file.Listeners}
	for _, d := range file.Filters {
		set.Filters = append(set.Filters, &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: strings.Repeat("0", 64)}})
	}
	catalog, _ := resource.Compile(nil, resource.Sets{Base: set}, resource.Options{ModulesURL: "http://127.0.0.1:6", Spares: resource.Spares{Around: 1}})
	var got []string
	for _, p := range pictures(catalog.Snapshot(definition.Node{}, ""), &xds.NodeStatus{}) {
		for _, c := range p.Chains {
			text := p.Name + ":"
			for _, s := range c.Filters {
				text += " " + s.Name
			}
			for _, u := range c.Upstreams {
				text += " > " + u.Match + " " + u.To
			}
			got = append(got, text)
		}
	}
	want := []string{"db: tap > connections 127.0.0.1:2 > connections 127.0.0.1:3", "web: tap hello > / 127.0.0.1:5"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
