package definition_test

import (
	"slices"
	"testing"

	"wasmxds/definition"
)

func TestConflicts(t *testing.T) {
	const (
		web     = "kind: Listener\nname: web\naddress: 0.0.0.0:80\nroutes: [{prefix: /, upstream: 'a:1'}]\n"
		api     = "kind: Listener\nname: api\naddress: 0.0.0.0:80\nroutes: [{prefix: /, upstream: 'a:1'}]\n"
		edge    = "kind: Listener\nname: edge\naddress: 0.0.0.0:80\nnodes: {clusters: [edge]}\nroutes: [{prefix: /, upstream: 'a:1'}]\n"
		inner   = "kind: Listener\nname: inner\naddress: 0.0.0.0:80\nnodes: {clusters: [inner]}\nroutes: [{prefix: /, upstream: 'a:1'}]\n"
		auth    = "kind: WasmFilter\nname: auth\nmodule: {url: a.wasm}\nattach: {listeners: [web]}\n"
		routes  = "'@type': type.googleapis.com/envoy.config.route.v3.RouteConfiguration\nname: r\nvirtual_hosts: [{name: all, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: x}}]}]\n"
		cluster = "'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: x\n"
	)
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"one port", []string{web, api}, []string{"the listeners web and api are both at 0.0.0.0:80"}},
		{"one port on other nodes", []string{edge, inner}, nil},
		{"a filter without its listener", []string{auth}, []string{"the filter auth is for the listener web, which is not there"}},
		{"a filter with its listener", []string{auth, web}, nil},
		{"routes without their cluster", []string{routes}, []string{"r names the cluster x, which is not there"}},
		{"routes with their cluster", []string{routes, cluster}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var filters []*definition.Filter
			var listeners []*definition.Listener
			var resources []*definition.Resource
			for _, text := range c.files {
				r := parser.Read("a.yaml", []byte(text))
				if r.File == nil {
					t.Fatal(r.Problems)
				}
				filters, listeners, resources = append(filters, r.File.Filters...), append(listeners, r.File.Listeners...), append(resources, r.File.Resources...)
			}
			if got := definition.Conflicts(filters, listeners, resources); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
