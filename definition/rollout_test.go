package definition_test

import (
	"fmt"
	"testing"

	"wasmxds/definition"
)

func TestRolloutMatches(t *testing.T) {
	for _, c := range []struct {
		globs []string
		name  string
		want  bool
	}{
		{[]string{"*"}, "hello", true},
		{[]string{"*"}, "web/envoy.filters.http.wasm", true}, // in a raw listener
		{[]string{"web/*"}, "web/http/x", true},
		{[]string{"web?x"}, "web/x", true},
		{[]string{"w*x"}, "web/x", true},
		{[]string{"web/"}, "web", false},
		{[]string{"hello"}, "hello2", false},
		{[]string{"a", "hell?"}, "hello", true},
		{[]string{"shop.*"}, "shop.auth", true}, // a WasmPlugin
		{[]string{"[g-i]ello"}, "hello", true},
		{nil, "hello", false},
		{[]string{"*"}, "", true},
	} {
		r := &definition.Rollout{Definitions: c.globs}
		if got := r.Matches(c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.globs, c.name, got)
		}
	}
}

// TestRolloutNames checks that a Rollout matches definitions of any kind by the
// names that they have in the set.
func TestRolloutNames(t *testing.T) {
	file, problems := parser.Parse("a.yaml", []byte(`
kind: WasmFilter
name: native
module: {url: a.wasm}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: plugin, namespace: shop}
spec: {url: "file:///a.wasm"}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: object, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: GATEWAY}
    patch:
      operation: INSERT_FIRST
      value:
        name: patched
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config: {vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: /a.wasm}}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: policy, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}]
  wasm: [{name: first, code: {type: HTTP, http: {url: "https://example.com/a.wasm"}}}]
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: outbound|80||shop/cart
`))
	if file == nil {
		t.Fatal(problems)
	}
	set, _ := definition.Merge([]*definition.File{file})
	var names []string
	for _, f := range set.Filters {
		names = append(names, f.Name)
	}
	for _, r := range set.Resources {
		names = append(names, r.Name)
	}
	if got, want := fmt.Sprint(names), "[native patched shop.plugin shop.policy.first outbound|80||shop/cart]"; got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	all, shop := &definition.Rollout{Definitions: []string{"*"}}, &definition.Rollout{Definitions: []string{"shop.*", "*shop/*"}}
	var matched []string
	for _, name := range names {
		if !all.Matches(name) {
			t.Errorf("* is not for %s", name)
		}
		if shop.Matches(name) {
			matched = append(matched, name)
		}
	}
	if got, want := fmt.Sprint(matched), "[shop.plugin shop.policy.first outbound|80||shop/cart]"; got != want {
		t.Errorf("matched %s, want %s", got, want)
	}
}

func TestPolicyOf(t *testing.T) {
	rollout := func(name string, globs ...string) *definition.Rollout {
		return &definition.Rollout{Name: name, Definitions: globs}
	}
	hole := func(name string, globs ...string) *definition.Hole {
		return &definition.Hole{Kind: "Rollout", Name: name, Definitions: globs}
	}
	edge, fleet := rollout("edge", "edge-*"), rollout("fleet", "*")
	rollouts := []*definition.Rollout{fleet, edge} // in any order
	for name, c := range map[string]struct {
		holes  []*definition.Hole
		names  []string
		policy *definition.Rollout
		held   bool
	}{
		"the first by name":               {nil, []string{"hello", "edge-1"}, edge, false},
		"the only one":                    {nil, []string{"hello"}, fleet, false},
		"of nothing":                      {nil, nil, nil, false},
		"a hole before it":                {[]*definition.Hole{hole("a", "hello")}, []string{"hello"}, fleet, true},
		"a hole behind it":                {[]*definition.Hole{hole("z", "hello")}, []string{"hello"}, fleet, false},
		"a hole of its name":              {[]*definition.Hole{hole("fleet", "hello")}, []string{"hello"}, fleet, false},
		"a hole for others":               {[]*definition.Hole{hole("a", "web")}, []string{"hello"}, fleet, false},
		"a hole without a name":           {[]*definition.Hole{hole("", "hello")}, []string{"hello"}, fleet, true},
		"a hole for all":                  {[]*definition.Hole{hole("a")}, []string{"hello"}, fleet, true},
		"a hole for all, change of none":  {[]*definition.Hole{hole("a")}, nil, nil, false},
		"two holes, the second before it": {[]*definition.Hole{hole("z"), hole("b", "h*")}, []string{"web", "hello"}, fleet, true},
	} {
		t.Run(name, func(t *testing.T) {
			policy := definition.PolicyOf(rollouts, c.names)
			if policy != c.policy {
				t.Errorf("policy %v, want %v", policy, c.policy)
			}
			if held := definition.HeldBy(c.holes, policy, c.names); (held != nil) != c.held {
				t.Errorf("held by %v", held)
			}
		})
	}
	if held := definition.HeldBy([]*definition.Hole{hole("z", "hello")}, nil, []string{"hello"}); held == nil {
		t.Error("a hole that would be the only policy holds nothing")
	}
}
