package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// trafficExtension is one with a script or a module, for what a workload takes.
func trafficExtension(name, phase, config string) string {
	return fmt.Sprintf("apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: %s}\nspec:\n  phase: %s\n  match: [{mode: SERVER}]\n  %s\n",
		name, phase, strings.ReplaceAll(config, "\n", "\n  "))
}

// luaPatch is an EnvoyFilter with a script for what a workload takes.
func luaPatch(name, operation, code string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: %s}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: %s
      value:
        name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          %s
`, name, operation, code)
}

// met is a script that sets a header of its own, and tells in x-met that a request has
// met it, and whether it has met the module before.
func met(name, version string) string {
	return fmt.Sprintf("function envoy_on_request(h)\n  h:headers():add('x-met', '%s' .. (h:headers():get('x-module') or ''))\n  h:headers():replace('x-%s', '%s')\nend", name, name, version)
}

// TestTrafficExtension: TrafficExtensions with a script and with a module, and scripts
// in EnvoyFilters, are met in the order that they say; each is changed, and one broken
// and mended, under load; no request fails or goes without them.
func TestTrafficExtension(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", "direction: inbound\n"+f.listener("web"))
		write := map[string]func(version string) time.Time{
			"module": func(version string) time.Time {
				return f.write("module.yaml", trafficExtension("module", "AUTHN", fmt.Sprintf("wasm: {url: %q}", f.moduleURL(wasmtest.Filter{Header: "x-module", Value: version}))))
			},
			"script": func(version string) time.Time {
				return f.write("script.yaml", trafficExtension("script", "STATS", fmt.Sprintf("lua: {inlineCode: %q}", met("script", version))))
			},
			"first": func(version string) time.Time {
				return f.write("first.yaml", luaPatch("first", "INSERT_FIRST", fmt.Sprintf("default_source_code: {inline_string: %q}", met("first", version))))
			},
			"last": func(version string) time.Time {
				return f.write("last.yaml", luaPatch("last", "INSERT_BEFORE", fmt.Sprintf("inlineCode: %q", met("last", version))))
			},
		}
		for _, of := range write {
			of("1")
		}
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-module", "x-script", "x-first", "x-last")
		f.seen(l, e.Started, "x-last", "1")
		if got, want := e.get("web", "/").reached.Values("X-Met"), []string{"first", "script1", "last1"}; !slices.Equal(got, want) {
			t.Errorf("a request met %q, want %q", got, want)
		}
		version := e.listens("web")
		for name, of := range write {
			f.seen(l, of("2"), "x-"+name, "2")
		}

		f.write("script.yaml", trafficExtension("script", "STATS", "lua: {inlineCode: \"function envoy_on_request(h) h:headers(\"}"))
		if at := e.state("script", "failed"); !strings.Contains(at.Reason, "Envoy rejects the script") {
			t.Errorf("of a script that is none the status says %q", at.Reason)
		}
		f.seen(l, write["script"]("3"), "x-script", "3")
		if got := e.listens("web"); got != version {
			t.Errorf("the listener was replaced, %s by %s", version, got)
		}
		t.Log(f.good(l))
	})
}

// TestExtensionPolicyScript: the script of an EnvoyExtensionPolicy is met before its
// module; it is changed, broken and mended under load, and that of an HTTPRoute runs for
// the route of that name alone.
func TestExtensionPolicyScript(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newWebFleet(t, "")
		f.write("web.yaml", f.listener("web", fmt.Sprintf("- {name: checkout, prefix: /checkout, upstream: %q}", f.upstream.Address())))
		policy := func(target, name, rest string) time.Time {
			return f.write(name+".yaml", fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: %s}\n"+
				"spec:\n  targetRefs: [{group: gateway.networking.k8s.io, %s}]\n%s", name, target, rest))
		}
		module := f.origin.Put("m.wasm", wasmtest.Filter{Header: "x-module", Value: "m"}.Module())
		web := func(script string) time.Time {
			return policy("kind: Gateway, name: eg, sectionName: web", "web-policy",
				fmt.Sprintf("  lua: [{type: Inline, inline: %q}]\n  wasm: [{name: w, code: {type: HTTP, http: {url: %q}}}]\n", script, module))
		}
		web(met("script", "1"))
		policy("kind: HTTPRoute, name: checkout", "of-route", fmt.Sprintf("  lua: [{inline: %q}]\n", met("route", "1")))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-module", "x-script")
		f.seen(l, e.Started, "x-script", "1")
		if got := e.get("web", "/").reached; got.Get("X-Met") != "script" || got.Get("X-Route") != "" {
			t.Errorf("a request met %q, and has x-route: %q", got.Get("X-Met"), got.Get("X-Route"))
		}
		f.eventually(func() error {
			if got := e.get("web", "/checkout").reached; got.Get("X-Route") != "1" || got.Get("X-Script") != "1" {
				return fmt.Errorf("the route's request has %v", got)
			}
			return nil
		})
		version := e.listens("web")
		f.seen(l, web(met("script", "2")), "x-script", "2")
		web("function envoy_on_request(h) h:headers(")
		if at := e.state("web-policy.lua.0", "failed"); !strings.Contains(at.Reason, "Envoy rejects the script") {
			t.Errorf("of a script that is none the status says %q", at.Reason)
		}
		f.seen(l, web(met("script", "3")), "x-script", "3")
		if got := e.listens("web"); got != version {
			t.Errorf("the listener was replaced, %s by %s", version, got)
		}
		t.Log(f.good(l))
	})
}
