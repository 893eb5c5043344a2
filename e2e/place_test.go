package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// rbac lets pass what has the header x-hello.
const rbac = `      - name: envoy.filters.http.rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules: {action: ALLOW, policies: {p: {permissions: [{any: true}], principals: [{header: {name: x-hello, present_match: true}}]}}}
`

// placements are all ways to say where a filter stands, with whether it is
// before the listener's own RBAC.
var placements = []struct {
	name   string
	before bool
	write  func(module string) string
}{
	{"order -1000000", true, func(m string) string { return filter("hello", m, "order: -1000000") }},
	{"order -1", true, func(m string) string { return filter("hello", m, "order: -1") }},
	{"order 0", false, func(m string) string { return filter("hello", m) }},
	{"place first", true, func(m string) string { return filter("hello", m, "place: first") }},
	{"place last", false, func(m string) string { return filter("hello", m, "place: last", "order: -1") }},
	{"place before", true, func(m string) string { return filter("hello", m, "place: before envoy.filters.http.rbac") }},
	{"place after", false, func(m string) string { return filter("hello", m, "place: after envoy.rbac") }},
	{"place before what is not there", true, func(m string) string { return filter("hello", m, "place: before nothing") }},
	{"phase AUTHN", true, func(m string) string { return plugin(m, "phase: AUTHN") }},
	{"phase AUTHZ", true, func(m string) string { return plugin(m, "phase: AUTHZ") }},
	{"phase STATS", false, func(m string) string { return plugin(m, "phase: STATS") }},
	{"no phase", false, func(m string) string { return plugin(m, "priority: 1000") }},
	{"INSERT_FIRST", true, func(m string) string { return patch(m, "INSERT_FIRST", "") }},
	{"INSERT_BEFORE", true, func(m string) string { return patch(m, "INSERT_BEFORE", "") }},
	{"INSERT_BEFORE rbac", true, func(m string) string { return patch(m, "INSERT_BEFORE", "envoy.filters.http.rbac") }},
	{"INSERT_AFTER rbac", false, func(m string) string { return patch(m, "INSERT_AFTER", "envoy.filters.http.rbac") }},
	{"INSERT_BEFORE router", false, func(m string) string { return patch(m, "INSERT_BEFORE", "envoy.filters.http.router") }},
}

func plugin(module, line string) string {
	return fmt.Sprintf("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: hello}\nspec:\n  url: file://%s\n  %s\n", module, line)
}

func patch(module, operation, sub string) string {
	match := ""
	if sub != "" {
		match = fmt.Sprintf("    match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: %s}}}}}\n", sub)
	}
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: hello}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
%s    patch:
      operation: %s
      value:
        name: hello
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config: {vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: %q}}}}
`, match, operation, module)
}

// TestPlaces: where a filter stands beside a listener's own, in each kind of
// definition. One that sets the header that an RBAC wants has its effect only
// where it is first.
func TestPlaces(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.inlined("web", rbac)+"---\n"+f.upstreamCluster())
		module := strings.TrimPrefix(f.module(wasmtest.Filter{Header: "x-hello", Value: "1"}), "..")
		f.write("hello.yaml", placements[0].write(f.dir+module))
		f.serve()
		e := f.envoy(c, "edge-1")
		for _, p := range placements {
			t.Run(p.name, func(t *testing.T) {
				f.t = t
				want := http.StatusForbidden
				if p.before {
					want = http.StatusOK
				}
				// From the other side to this one.
				other := map[bool]string{true: "order: 9", false: "order: -9"}[p.before]
				f.write("hello.yaml", filter("hello", f.dir+module, other))
				f.eventually(func() error { return e.answersWith("web", http.StatusForbidden+http.StatusOK-want) })
				f.write("hello.yaml", p.write(f.dir+module))
				f.eventually(func() error { return e.answersWith("web", want) })
			})
		}
	})
}

func (e *edge) answersWith(listener string, want int) error {
	if a := e.get(listener, "/"); a.status != want {
		return fmt.Errorf("the answer is %d, want %d", a.status, want)
	}
	return nil
}
