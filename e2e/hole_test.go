package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// TestHole: an Envoy and a server start with a filter that can't be read, and
// the listener is not served without it. Once listeners are in force, they go
// on through another such document, a restart and on an Envoy that starts,
// while a new one is withheld.
func TestHole(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		module := f.module(wasmtest.Filter{Header: "x-auth", Value: "1"})
		f.write("web.yaml", f.listener("web"))
		f.write("auth.yaml", filter("auth", module, "order: first"))
		f.serve()
		e := f.envoy(c, "edge-1")
		e.state("WasmFilter auth (auth.yaml:1)", "failed")
		f.eventually(func() error { return f.withheld("web") })
		// Longer than others wait for a filter that fails.
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if e.Ready(t.Context()) == nil {
				t.Fatal("Envoy is ready with nothing to serve")
			}
			if at, err := e.Listener(t.Context(), "web"); err == nil {
				t.Fatalf("web is served without its filter, at %s", at)
			}
		}
		start := f.write("auth.yaml", filter("auth", module))
		l := e.load("web", "x-auth")
		f.seen(l, start, "x-auth", "1")
		e.ready()

		f.write("other.yaml", "kind: [")
		f.eventually(func() error { return f.complains("not YAML") })
		f.write("api.yaml", f.listener("api"))
		f.eventually(func() error { return f.withheld("api") })
		f.restartServer()
		f.eventually(func() error { return f.withheld("api") })
		fresh := f.envoy(c, "edge-2")
		l2 := fresh.load("web", "x-auth")
		f.seen(l2, fresh.Started, "x-auth", "1")
		fresh.ready()
		for _, edge := range []*edge{e, fresh} {
			if at, err := edge.Listener(t.Context(), "api"); err == nil {
				t.Errorf("api is served on %s, at %s", edge.id, at)
			}
		}
		f.remove("other.yaml")
		for _, edge := range []*edge{e, fresh} {
			api := edge.load("api", "x-auth")
			f.seen(api, start, "x-auth", "1")
			f.good(api)
		}
		f.good(l)
		f.good(l2)
	})
}

// TestList: what kubectl prints has a good WasmPlugin, one with a mistake for
// another side, and what has nothing to do with Wasm.
func TestList(t *testing.T) {
	c := newest()
	f := newFleet(t)
	f.write("web.yaml", f.listener("web")+"direction: inbound\n")
	f.write("out.yaml", f.listener("out")+"direction: outbound\n")
	module := f.moduleURL(wasmtest.Filter{Header: "x-auth", Value: "1"})
	f.write("istio.yaml", fmt.Sprintf(`apiVersion: v1
kind: List
items:
- apiVersion: extensions.istio.io/v1alpha1
  kind: WasmPlugin
  metadata: {name: auth}
  spec: {url: %q}
- apiVersion: extensions.istio.io/v1alpha1
  kind: WasmPlugin
  metadata: {name: bad}
  spec: {ulr: %q, match: [{mode: CLIENT}]}
- apiVersion: networking.istio.io/v1alpha3
  kind: EnvoyFilter
  metadata: {name: router}
  spec:
    configPatches:
    - applyTo: NETWORK_FILTER
      patch: {operation: MERGE, value: {name: envoy.filters.network.http_connection_manager}}
- apiVersion: v1
  kind: Service
  metadata: {name: web}
`, module, module))
	f.serve()
	e := f.envoy(c, "edge-1")
	l := e.load("web", "x-auth")
	f.seen(l, e.Started, "x-auth", "1")
	f.eventually(func() error { return f.withheld("out") })
	f.good(l)
}

// withheld is nil when the status says that these listeners are withheld.
func (f *fleet) withheld(listeners ...string) error {
	status, err := f.server.Status(f.ctx)
	if err != nil {
		return err
	}
	var got []string
	for _, w := range status.Definitions.Withheld {
		got = append(got, w.Listener)
	}
	if !slices.Equal(got, listeners) {
		return fmt.Errorf("withheld %q, want %q", got, listeners)
	}
	return nil
}
