package dryrun

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
)

// Each callback of each ABI is taken with its own type and with no other.
func TestCallbacks(t *testing.T) {
	r := newRunner(t, Options{})
	for _, abi := range []string{"0.1.0", "0.2.0", "0.2.1"} {
		known := callbacks(abi)
		for name, c := range map[string]callback{"main": {2, true}, "__main_void": {0, true}, "malloc": {1, true}} {
			known[name] = c
		}
		var good []wasmtest.Function
		for name, c := range known {
			results := 0
			if c.result {
				results = 1
			}
			right := wasmtest.Function{Name: name, Params: c.params, Results: results}
			if name != "proxy_on_vm_start" && name != "proxy_on_configure" { // they answer 0, which is no
				good = append(good, right)
			}
			for _, wrong := range []wasmtest.Function{
				{Name: name, Params: c.params + 1, Results: results},
				{Name: name, Params: c.params, Results: 1 - results},
			} {
				err := r.Run(t.Context(), &definition.Filter{}, r.assemble(t, typed(abi, wrong)))
				want := fmt.Sprintf("dry run: %s has the type %s, Envoy wants %s (ABI %s)", name, written(wrong), written(right), abi)
				if _, verdict := errors.AsType[*module.ContentError](err); !verdict || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		}
		if err := r.Run(t.Context(), &definition.Filter{}, r.assemble(t, typed(abi, good...))); err != nil {
			t.Errorf("ABI %s: %v", abi, err)
		}
	}
}

// What Envoy doesn't look up may have any type.
func TestCallbacksThatAreNotLookedUp(t *testing.T) {
	r := newRunner(t, Options{})
	odd := func(name string) wasmtest.Function { return wasmtest.Function{Name: name, Params: 7} }
	for name, test := range map[string]struct {
		module  wasmtest.Filter
		filter  definition.Filter
		refused bool
	}{
		"another name":           {module: typed("0.2.1", odd("helper"), odd("proxy_on_nothing"))},
		"start of a reactor":     {module: typed("0.2.1", odd("_start"))},
		"memory beside malloc":   {module: typed("0.2.1", wasmtest.Function{Name: "malloc", Params: 1, Results: 1}, odd("proxy_on_memory_allocate"))},
		"foreign call of 0.1.0":  {module: typed("0.1.0", odd("proxy_on_foreign_function"))},
		"not among capabilities": {module: typed("0.2.1", odd("proxy_on_log")), filter: definition.Filter{Wasm: new(wasmv3.Wasm), Allow: []string{"proxy_log"}}},
		"among capabilities":     {module: typed("0.2.1", odd("proxy_on_log")), filter: definition.Filter{Wasm: new(wasmv3.Wasm), Allow: []string{"proxy_on_log"}}, refused: true},
		"beside an allow list":   {module: typed("0.2.1", odd("proxy_on_log")), filter: definition.Filter{Allow: []string{"proxy_log"}}, refused: true},
	} {
		err := r.Run(t.Context(), &test.filter, r.assemble(t, test.module))
		if refused := err != nil && strings.Contains(err.Error(), "has the type"); refused != test.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// typed is a filter for an ABI with further exports.
func typed(abi string, exports ...wasmtest.Function) wasmtest.Filter {
	f := wasmtest.Filter{Header: "x-a", Value: "1", ABI: abi, Exports: exports}
	if abi == "0.1.0" {
		f.Exports = append([]wasmtest.Function{{Name: "proxy_on_request_headers", Params: 2, Results: 1}}, f.Exports...)
	}
	return f
}

func written(f wasmtest.Function) string {
	words := func(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("i32 ", n), " ") + ")" }
	return words(f.Params) + " → " + words(f.Results)
}
