package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestExtensionPolicyOfRoute: an EnvoyExtensionPolicy that targets an HTTPRoute runs for
// the routes of that name alone, whatever becomes of its module, of the routes beside it
// and of itself, and has no connection closed.
func TestExtensionPolicyOfRoute(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		routes := func(lines ...string) {
			w.write("web.yaml", w.listener("web", append(lines, fmt.Sprintf("- {name: checkout, prefix: /checkout, upstream: %q}", w.upstream.Address()))...))
		}
		routes()
		policy := func(value string) time.Time {
			module := wasmtest.Filter{Header: "x-route", Value: value}.Module()
			return w.write("policy.yaml", fmt.Sprintf(`apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: fraud, namespace: shop}
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: checkout}
  wasm:
  - name: score
    code: {type: HTTP, http: {url: %q, sha256: %s}}
`, w.origin.Put(value+".wasm", module), harness.SHA256(module)))
		}
		policy("1")
		w.serve()
		e := w.envoy(c, "edge-1")
		r := &routed{fleet: w.fleet, c: c, edge: e}
		address := e.address("web")
		start := func(path string, config harness.LoadConfig) *harness.Load {
			config.Address, config.Path = address, path
			l := harness.StartLoad(w.ctx, config)
			t.Cleanup(func() { l.Stop() })
			return l
		}
		inside := start("/checkout", harness.LoadConfig{Headers: []string{"x-route"}})
		outside := start("/", harness.LoadConfig{Without: []string{"x-route"}})
		w.seen(inside, e.Started, "x-route", "1")
		version := r.version()
		t.Logf("file written → new header: %v", w.seen(inside, policy("2"), "x-route", "2"))
		e.runs("shop.fraud.score")

		// A route that comes before it has a name of its own.
		routes(fmt.Sprintf("- {name: status, prefix: /checkout/status, upstream: %q}", w.upstream.Address()))
		w.eventually(func() error {
			if e.get("web", "/checkout/status").reached.Get("X-Route") != "" {
				return errors.New("the route before it meets the filter")
			}
			return nil
		})
		w.good(inside)
		w.remove("policy.yaml")
		w.eventually(func() error {
			if e.get("web", "/checkout").reached.Get("X-Route") != "" {
				return errors.New("the policy is gone, and its filter runs")
			}
			return nil
		})
		r.kept(version)
		w.good(outside)
	})
}
