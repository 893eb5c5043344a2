package definition_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
)

// TestHoles checks what is read from a document with errors, in each form. A
// hole is written as kind, name, onFailure and where it may belong.
func TestHoles(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		want             []string
	}{
		{"unknown field", "a.yaml", "kind: WasmFilter\nname: a\nnam: b\nonFailure: open\nattach: {listeners: [web], ports: [80]}", []string{"WasmFilter a open web 80"}},
		{"mistake in attach", "a.yaml", "kind: WasmFilter\nname: a\nattach: {listners: [web], nodes: {clusters: [edge]}}", []string{"WasmFilter a closed anywhere of edge"}},
		{"mistake in onFailure", "a.yaml", "kind: WasmFilter\nname: a\nonFailure: opne", []string{"WasmFilter a closed anywhere"}},
		{"no name", "a.yaml", "kind: WasmFilter\nmodule: {url: a.wasm}", []string{"WasmFilter  closed anywhere"}},
		{"direct without sha256", "a.yaml", "kind: WasmFilter\nname: a\nmodule: {url: 'ftp://x/a.wasm'}\nattach: {direction: inbound}", []string{"WasmFilter a closed inbound"}},
		{"attached to nothing", "a.yaml", "kind: WasmFilter\nname: a\nattach: {listeners: []}", []string{"WasmFilter a closed nowhere"}},
		{"not YAML", "a.yaml", "kind: WasmFilter\nname: a\nmodule:\n\turl: x\nonFailure: open\nattach:\n  listeners: [web]\n", []string{"WasmFilter a open web"}},
		{"not YAML in attach", "a.yaml", "kind: WasmFilter\nname: a\nattach:\n  listeners: [web\n", []string{"WasmFilter a closed anywhere"}},
		{"the second of two is not YAML", "a.yaml", "kind: WasmFilter\nname: a\nmodule: {url: a.wasm}\nattach: {listeners: [web]}\n---\nkind: [", []string{"WasmFilter a closed web", "  closed anywhere"}},
		{"a listener that is not YAML", "a.yaml", "kind: Listener\nname: web\nroutes: [", []string{"Listener web closed nowhere"}},
		{"a field twice", "a.yaml", "kind: WasmFilter\nname: a\nonFailure: open\nonFailure: closed\nattach: {listeners: [web]}", []string{"WasmFilter a closed anywhere"}},
		{"JSON that ends", "a.json", `{"kind": "WasmFilter", "name": "a"`, []string{"  closed anywhere"}},
		{"text", "a.yaml", "hello", []string{"  closed anywhere"}},
		{"unknown kind", "a.yaml", "kind: WasmFiltre\nname: a", []string{"WasmFiltre a closed anywhere"}},
		{"a listener, mistyped", "a.yaml", "kind: Listner\nname: a", []string{"Listener a closed nowhere"}},
		{"listener", "a.yaml", "kind: Listener\nname: web", []string{"Listener web closed nowhere"}},
		{"cluster", "a.yaml", `{"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, nme: a}`, []string{"Cluster  closed nowhere"}},
		{"extension", "a.yaml", `{"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: a}` + "\nx", []string{"TypedExtensionConfig a closed nowhere", "  closed anywhere"}},
		{"unknown type", "a.yaml", `{"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, name: a}`, []string{"Wasm a closed anywhere"}},
		{"WasmPlugin", "a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: a, namespace: n}\nspec: {ulr: x, failStrategy: FAIL_OPEN, selector: {matchLabels: {app: cart}}, match: [{mode: SERVER}]}", []string{"WasmPlugin n.a open inbound of app=cart"}},
		{"EnvoyFilter", "a.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\nspec:\n  configPatches:\n  - applyTo: HTTP_FILTER\n    match: {context: GATEWAY, listener: {name: web}}\n    patch: {operation: MERGE, value: {name: wasm, typed_config: {config: {fail_open: true, vm_config: {}}}}}", []string{"EnvoyFilter a open gateway web"}},
		{"a service", "a.yaml", "kind: WasmFilter\nname: a\nplace: service\nmodul: {}\nonFailure: closed", []string{"WasmFilter a closed nowhere"}},
		{"TrafficExtension, a module", "a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: a, namespace: n}\nspec: {wasm: {ulr: x, failStrategy: FAIL_OPEN}, selector: {matchLabels: {app: cart}}, match: [{mode: SERVER}]}", []string{"TrafficExtension n.a open inbound of app=cart"}},
		{"TrafficExtension, a script", "a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: a}\nspec: {lua: {inlineCode: \"\"}, failStrategy: FAIL_OPEN}", []string{"TrafficExtension a closed anywhere"}},
		{"TrafficExtension, both", "a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: a}\nspec: {lua: {inlineCode: x}, wasm: {url: a, failStrategy: FAIL_OPEN}}", []string{"TrafficExtension a closed anywhere"}},
		{"TrafficExtension, mistyped", "a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: TraficExtension\nmetadata: {name: a}\nspec: {lua: {inlineCode: x}}", []string{"TraficExtension a closed anywhere"}},
		{"EnvoyFilter with a script", "a.yaml", luaPatch("MERGE", `{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline_code: x = 1}}`), []string{"EnvoyFilter a closed gateway"}},
		{"EnvoyFilter with a script, beside an open filter", "a.yaml", luaPatch("INSERT_FIRST", `{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline_code: x = 1}}`) + "\n  - applyTo: HTTP_FILTER\n    match: {context: GATEWAY}\n    patch: {operation: MERGE, value: {name: b, typed_config: {config: {fail_open: true, vm_config: {}}}}}", []string{"EnvoyFilter a closed gateway"}},
		{"EnvoyFilter that turns a script off", "a.yaml", luaPatch("MERGE", `{typed_per_filter_config: {envoy.filters.http.lua: {disabled: true}}}`), []string{"EnvoyFilter a closed gateway"}},
		{"EnvoyFilter with neither", "a.yaml", luaPatch("MERGE", `{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}`), nil},
		{"EnvoyExtensionPolicy", "a.yaml", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: a}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g, sectionName: web}], wasm: [{cod: x}]}", []string{"EnvoyExtensionPolicy a closed web"}},
		{"unrelated", "a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}", nil},
		{"unrelated but for Wasm", "a.yaml", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata: {name: a}\nspec: {type: envoy.extensions.filters.http.wasm.v3.Wasm}", []string{"EnvoyPatchPolicy a closed anywhere"}},
		{"Rollout", "a.yaml", "kind: Rollout\nname: a\nwavs: [1]\nmatch: {definitions: [\"web*\", b]}", []string{"Rollout a closed nowhere for web* b"}},
		{"Rollout of all", "a.yaml", "kind: Rollout\nname: a\nwaves: []", []string{"Rollout a closed nowhere for all"}},
		{"Rollout with a mistake in match", "a.yaml", "kind: Rollout\nname: a\nwaves: [1]\nmatch: {definitions: [web, \"b[\"]}", []string{"Rollout a closed nowhere for all"}},
		{"Rollout, mistyped", "a.yaml", "kind: Rollot\nname: a\nmatch: {definitions: [b]}", []string{"Rollout a closed nowhere for b"}},
		{"Rollout without a kind", "a.yaml", "name: a\nwaves: [1]", []string{"Rollout a closed nowhere for all"}},
		{"Rollout that is not YAML", "a.yaml", "kind: Rollout\nname: a\nmatch: {definitions: [b]}\nwaves: [", []string{"Rollout a closed nowhere for b"}},
		{"Rollout with a field twice", "a.yaml", "kind: Rollout\nname: a\nmatch: {definitions: [b]}\nmatch: {definitions: [c]}\nwaves: [1]", []string{"Rollout a closed nowhere for all"}},
		{"Rollout as an object", "a.yaml", "apiVersion: example.com/v1\nkind: Rollout\nmetadata: {name: a}\nspec: {waves: [1]}", []string{"Rollout  closed nowhere for all"}},
		{"Rollout of others", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: wasm}\nspec: {}", nil},
		{"Rollout in JSON that ends", "a.json", `{"kind": "Rollout", "name": "a"`, []string{"  closed anywhere or a Rollout for all"}},
		{"Rollout that is no UTF-8", "a.yaml", "kind: Rollout\nname: \xff", []string{"  closed anywhere or a Rollout for all"}},
		{"filter beside a Rollout with errors", "a.yaml", "kind: WasmFilter\nname: a\nmodule: {url: a.wasm}\nattach: {listeners: [web]}\n---\nkind: Rollout\nname: b", []string{"Rollout b closed nowhere for all", "WasmFilter a closed web"}},
		{"Rollout beside a filter with errors", "a.yaml", "kind: Rollout\nname: b\nwaves: [1]\nmatch: {definitions: [c]}\n---\nkind: WasmFilter\nname: a", []string{"WasmFilter a closed anywhere", "Rollout b closed nowhere for c"}},
		{"two Rollouts of one name", "a.yaml", "kind: Rollout\nname: a\nwaves: [1]\n---\nkind: Rollout\nname: a\nwaves: [2]\nmatch: {definitions: [c]}", []string{"Rollout a closed nowhere for c", "Rollout a closed nowhere for *"}},
		{"no UTF-8", "a.yaml", "kind: \xff", []string{"  closed anywhere"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := parser.Read(c.file, []byte(c.text))
			var got []string
			for _, h := range r.Holes {
				got = append(got, describe(h))
			}
			for i := range c.want {
				c.want[i] = strings.TrimSpace(c.want[i])
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %q, want %q; problems %v", got, c.want, r.Problems)
			}
			if bad := !definitiontest.OnlyWarnings(r.Problems); bad != (len(c.want) > 0) || bad != (r.File == nil) {
				t.Errorf("file %v, problems %v", r.File, r.Problems)
			}
		})
	}
}

// luaPatch returns an EnvoyFilter with one patch for HTTP filters.
func luaPatch(operation, value string) string {
	return "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\nspec:\n  configPatches:\n  - applyTo: HTTP_FILTER\n" +
		"    match: {context: GATEWAY}\n    patch: {operation: " + operation + ", value: " + value + "}"
}

func describe(h *definition.Hole) string {
	where := "nowhere"
	for _, m := range h.Attach.Listeners {
		var parts []string
		if m.Direction != definition.Any {
			parts = append(parts, string(m.Direction))
		}
		parts = append(parts, m.Names...)
		for _, p := range m.Ports {
			parts = append(parts, fmt.Sprint(p))
		}
		where = strings.Join(parts, " ")
		if where == "" {
			where = "anywhere"
		}
	}
	for key, value := range h.Attach.Nodes.Labels {
		where += " of " + key + "=" + value
	}
	if c := h.Attach.Nodes.Clusters; len(c) > 0 {
		where += " of " + strings.Join(c, " ")
	}
	if h.MayBeRollout() {
		if !h.IsRollout() {
			where += " or a Rollout"
		}
		where += " for " + cmp.Or(strings.Join(h.Definitions, " "), "all")
	}
	onFailure := h.OnFailure
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", h.Kind, h.Name, onFailure, where))
}
