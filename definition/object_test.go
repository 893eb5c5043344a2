package definition_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"wasmxds/definition"
)

func readObject(t *testing.T, scope definition.Scope, text string) definition.Parsed {
	t.Helper()
	return parser.ReadObject("WasmFilter shop/auth", scope, []byte(text))
}

const objectHead = `{"apiVersion":"wasmxds.dev/v1alpha1","metadata":{"name":"auth","namespace":"shop"},`

var shop = definition.Scope{Namespace: "shop"}

// TestObject checks that an object of a native kind has the same meaning as a
// file with the same name.
func TestObject(t *testing.T) {
	file, problems := parser.Parse("a.yaml", []byte(`
apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: auth, namespace: shop, labels: {app: web}}
spec:
  module: {url: "https://example.com/a.wasm"}
  attach: {listeners: [web]}
status: {}
---
apiVersion: wasmxds.dev/v1alpha1
kind: Listener
metadata: {name: web}
spec: {address: "0.0.0.0:8080", routes: [{prefix: /, upstream: "a:1"}]}
---
apiVersion: wasmxds.dev/v1alpha1
kind: Rollout
metadata: {name: careful}
spec: {waves: [1]}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f := file.Filters[0]
	if f.Name != "shop.auth" || f.Attach.Nodes.Labels != nil || f.Attach.Listeners[0].Names[0] != "web" {
		t.Errorf("%+v", f)
	}
	if file.Listeners[0].Name != "web" || file.Rollouts[0].Name != "careful" {
		t.Errorf("%+v %+v", file.Listeners[0], file.Rollouts[0])
	}
}

// TestObjectProblems checks that problems refer to the fields of the object.
func TestObjectProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"kind":"WasmFilter","spec":{"module":{"url":"a.wasm"}}}`, "WasmFilter shop/auth: spec.module.url: is a path, but there is no folder that it could be in"},
		{`{"kind":"WasmFilter","spec":{"modul":{}}}`, "WasmFilter shop/auth: spec.modul: unknown field\nWasmFilter shop/auth: spec.module: is missing"},
		{`{"kind":"WasmFilter","spec":{"name":"b","module":{"url":"https://a/b"}}}`, "WasmFilter shop/auth: spec.name: name is not written here"},
		{`{"kind":"WasmFilter","spec":[]}`, "WasmFilter shop/auth: spec: a list, needs a mapping"},
		{`{"kind":"WasmFilter"}`, "WasmFilter shop/auth: spec: is missing"},
		{`{"kind":"WasmFiltre","spec":{}}`, `WasmFilter shop/auth: kind: "WasmFiltre" is not known`},
		{`{"kind":"Rollout","spec":{"waves":[0]}}`, "WasmFilter shop/auth: spec.waves[0]: 0, needs a whole number from 1 to 1000000"},
	} {
		parsed := readObject(t, shop, objectHead+c.text[1:])
		var told []string
		for _, p := range parsed.Problems {
			told = append(told, p.Error())
		}
		if got := strings.Join(told, "\n"); got != c.want || parsed.File != nil {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
		if len(parsed.Holes) != 1 {
			t.Fatalf("%s: holes %v", c.text, parsed.Holes)
		}
		h := parsed.Holes[0]
		if h.IsRollout() {
			if len(h.Definitions) != 1 || h.Definitions[0] != "shop.*" {
				t.Errorf("%s may hold up changes of %q", c.text, h.Definitions)
			}
		} else if h.Attach.Nodes.Labels[definition.NamespaceLabel] != "shop" {
			t.Errorf("%s may hold up listeners of %v", c.text, h.Attach.Nodes)
		}
	}
}

// TestScope checks that an object only applies to the Envoys of its own
// namespace, whatever it selects.
func TestScope(t *testing.T) {
	own := definition.Node{ID: "a", Labels: map[string]string{definition.NamespaceLabel: "shop", "app": "web", definition.GatewayLabel: "g"}}
	other := definition.Node{ID: "a", Labels: map[string]string{definition.NamespaceLabel: "other", "app": "web", definition.GatewayLabel: "g"}}
	none := definition.Node{ID: "a", Labels: map[string]string{"app": "web", definition.GatewayLabel: "g"}}
	root := definition.Scope{Namespace: "shop", Everywhere: true}
	wasm := `{"@type":"type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm","config":{"vm_config":{"code":{"remote":{"http_uri":{"uri":"https://a/b"}}}}}}`
	const address = `"address":"0.0.0.0:80","routes":[{"prefix":"/","upstream":"a:1"}]`
	for name, text := range map[string]string{
		"WasmFilter":                     objectHead + `"kind":"WasmFilter","spec":{"module":{"url":"https://a/b"}}}`,
		"WasmFilter of other":            objectHead + `"kind":"WasmFilter","spec":{"module":{"url":"https://a/b"},"attach":{"nodes":{"labels":{"wasmxds.dev/namespace":"other"}}}}}`,
		"Listener":                       objectHead + `"kind":"Listener","spec":{` + address + `}}`,
		"Listener for some":              objectHead + `"kind":"Listener","spec":{"nodes":{"labels":{"app":"web"}},` + address + `}}`,
		"Listener of other":              objectHead + `"kind":"Listener","spec":{"nodes":{"labels":{"wasmxds.dev/namespace":"other"}},` + address + `}}`,
		"WasmPlugin":                     `{"apiVersion":"extensions.istio.io/v1alpha1","kind":"WasmPlugin","metadata":{"name":"auth","namespace":"shop"},"spec":{"url":"https://a/b"}}`,
		"TrafficExtension":               `{"apiVersion":"extensions.istio.io/v1alpha1","kind":"TrafficExtension","metadata":{"name":"auth","namespace":"shop"},"spec":{"lua":{"inlineCode":"x = 1"}}}`,
		"EnvoyExtensionPolicy":           `{"apiVersion":"gateway.envoyproxy.io/v1alpha1","kind":"EnvoyExtensionPolicy","metadata":{"name":"auth","namespace":"shop"},"spec":{"targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"g"}],"wasm":[{"code":{"type":"HTTP","http":{"url":"https://a/b"}}}]}}`,
		"EnvoyFilter with a name of its": `{"apiVersion":"networking.istio.io/v1alpha3","kind":"EnvoyFilter","metadata":{"name":"auth","namespace":"shop"},"spec":{"configPatches":[{"applyTo":"EXTENSION_CONFIG","patch":{"operation":"ADD","value":{"name":"other.auth","typed_config":` + wasm + `}}}]}}`,
	} {
		parsed := readObject(t, shop, text)
		if parsed.File == nil {
			t.Errorf("%s: %v", name, parsed.Problems)
			continue
		}
		everywhere := readObject(t, root, text).File
		check := func(what string, nodes, rootNodes definition.Selector) {
			if !nodes.Matches(own) || nodes.Matches(other) || nodes.Matches(none) {
				t.Errorf("%s: %s is for %v", name, what, nodes)
			}
			if !strings.HasPrefix(what, "shop.") {
				t.Errorf("%s: is called %s", name, what)
			}
			if !strings.Contains(name, "of other") && !rootNodes.Matches(other) {
				t.Errorf("%s of the root namespace: %s is for %v", name, what, rootNodes)
			}
		}
		for i, f := range parsed.File.Filters {
			check(f.Name, f.Attach.Nodes, everywhere.Filters[i].Attach.Nodes)
		}
		for i, l := range parsed.File.Listeners {
			check(l.Name, l.Nodes, everywhere.Listeners[i].Nodes)
			// The stored form of a listener in force is the same.
			again, problems := definition.Parser{}.Parse("kept.json", parsed.File.Document(l))
			if again == nil {
				t.Fatalf("%s: %v", name, problems)
			}
			check(again.Listeners[0].Name, again.Listeners[0].Nodes, everywhere.Listeners[i].Nodes)
		}
	}
}

// TestScopeOfNames checks that a bare name is in the object's own namespace.
func TestScopeOfNames(t *testing.T) {
	parsed := readObject(t, shop, objectHead+`"kind":"WasmFilter","spec":{"module":{"url":"https://a/b"},"attach":{"listeners":["web","infra/edge"]}}}`)
	if got := strings.Join(parsed.File.Filters[0].Attach.Listeners[0].Names, " "); got != "shop.web infra.edge" {
		t.Errorf("listeners %s", got)
	}
	rollout := objectHead + `"kind":"Rollout","spec":{"waves":[1],"match":{"definitions":["auth","other.*"]}}}`
	r := readObject(t, shop, rollout).File.Rollouts[0]
	if r.Name != "shop.auth" || !r.Matches("shop.auth") || r.Matches("other.a") {
		t.Errorf("%+v", r)
	}
	if r := readObject(t, definition.Scope{Namespace: "shop", Everywhere: true}, rollout).File.Rollouts[0]; !r.Matches("other.a") {
		t.Errorf("%+v of the root namespace", r)
	}
	wasm := `{"@type":"type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm","config":{"vm_config":{"code":{"remote":{"http_uri":{"uri":"https://a/b"}}}}}}`
	cluster := `{"apiVersion":"networking.istio.io/v1alpha3","kind":"EnvoyFilter","metadata":{"name":"auth","namespace":"shop"},"spec":{"configPatches":[` +
		`{"applyTo":"CLUSTER","patch":{"operation":"ADD","value":{"name":"stats","connect_timeout":"1s"}}},` +
		`{"applyTo":"EXTENSION_CONFIG","patch":{"operation":"ADD","value":{"name":"auth","typed_config":` + wasm + `}}}]}}`
	parsed = readObject(t, shop, cluster)
	const want = "WasmFilter shop/auth: spec.configPatches[0].patch.value.name: goes to the Envoys of all namespaces"
	if parsed.File != nil || parsed.Problems[0].Error() != want {
		t.Errorf("a namespace adds a cluster to all Envoys: %v, want %s", parsed.Problems, want)
	}
	if parsed := readObject(t, definition.Scope{Namespace: "shop", Everywhere: true}, cluster); parsed.File == nil || len(parsed.File.Resources) != 1 {
		t.Errorf("the root namespace adds none: %v", parsed.Problems)
	}
}

// TestGateways checks that what targets Gateways applies to the Envoys that
// have their names as a label.
func TestGateways(t *testing.T) {
	policy := func(refs string) string {
		return `{"apiVersion":"gateway.envoyproxy.io/v1alpha1","kind":"EnvoyExtensionPolicy","metadata":{"name":"auth","namespace":"shop"},"spec":{"targetRefs":[` + refs +
			`],"wasm":[{"name":"a","code":{"type":"HTTP","http":{"url":"https://a/b"}}}]}}`
	}
	plugin := func(refs string) string {
		return `{"apiVersion":"extensions.istio.io/v1alpha1","kind":"WasmPlugin","metadata":{"name":"auth","namespace":"shop"},"spec":{"url":"https://a/b","targetRefs":[` + refs + `]}}`
	}
	script := func(refs string) string {
		return `{"apiVersion":"extensions.istio.io/v1alpha1","kind":"TrafficExtension","metadata":{"name":"auth","namespace":"shop"},"spec":{"lua":{"inlineCode":"x = 1"},"targetRefs":[` + refs + `]}}`
	}
	ref := func(name, more string) string {
		return `{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"` + name + `"` + more + `}`
	}
	for _, c := range []struct{ text, want string }{
		{policy(ref("edge", "")), "shop.auth.a edge [{gateway [] []}]"},
		{policy(ref("edge", `,"sectionName":"web"`)), "shop.auth.a edge [{any [shop.web] []}]"},
		{policy(ref("edge", "") + "," + ref("inner", `,"sectionName":"web"`)), "shop.auth.a.edge edge [{gateway [] []}] shop.auth.a.inner inner [{any [shop.web] []}]"},
		{plugin(ref("edge", "")), "shop.auth edge [{any [] []}]"},
		{plugin(ref("edge", "") + "," + ref("inner", "")), "shop.auth.edge edge [{any [] []}] shop.auth.inner inner [{any [] []}]"},
		{plugin(ref("edge", `,"namespace":"other"`)), "spec.targetRefs[0].namespace"},
		{plugin(`{"group":"","kind":"Service","name":"a"}`), "spec.targetRefs[0].kind"},
		{script(ref("edge", "")), "shop.auth edge [{any [] []}]"},
		{script(ref("edge", "") + "," + ref("inner", "")), "shop.auth.edge edge [{any [] []}] shop.auth.inner inner [{any [] []}]"},
		{script(`{"group":"networking.istio.io","kind":"ServiceEntry","name":"a"}`), "spec.targetRefs[0].kind"},
	} {
		parsed := readObject(t, shop, c.text)
		var words []string
		for _, p := range parsed.Problems {
			words = append(words, p.Field)
		}
		if parsed.File != nil {
			for _, f := range parsed.File.Filters {
				words = append(words, f.Name, f.Attach.Nodes.Labels[definition.GatewayLabel], matches(f.Attach))
				if f.Attach.Nodes.Labels[definition.NamespaceLabel] != "shop" {
					t.Errorf("%s is for %v", f.Name, f.Attach.Nodes)
				}
			}
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}

// TestPullSecretOfANamespace checks that an object can only name secrets of its
// own namespace.
func TestPullSecretOfANamespace(t *testing.T) {
	for secret, want := range map[string]string{"registry": "shop/registry", "../other/registry": "", "..": "", "/etc/passwd": ""} {
		parsed := readObject(t, shop, objectHead+`"kind":"WasmFilter","spec":{"module":{"url":"oci://a.example/b:c","pullSecret":"`+secret+`"}}}`)
		got := ""
		if parsed.File != nil {
			got = parsed.File.Filters[0].Module.PullSecret
		}
		if got != want {
			t.Errorf("%s: %q, want %q", secret, got, want)
		}
	}
}

// TestConfigFrom checks that an object's configuration is what its source has
// read for it.
func TestConfigFrom(t *testing.T) {
	spec := func(from, given string) string {
		return objectHead + `"kind":"WasmFilter","spec":{"module":{"url":"https://a/b"},` + from + `}` + given + `}`
	}
	const secret = `"configFrom":{"secret":{"name":"keys","key":"json"}}`
	parsed := readObject(t, shop, spec(secret, `,"given":{"value":"{\"a\": 1}"}`))
	if parsed.File == nil || !proto.Equal(parsed.File.Filters[0].Config, definition.TextConfig(`{"a": 1}`)) {
		t.Errorf("%v", parsed.Problems)
	}
	for _, c := range []struct{ from, given, want string }{
		{secret, `,"given":{"missing":"Secret shop/keys is not there"}`, "spec.configFrom.secret: Secret shop/keys is not there"},
		{secret, ``, "spec.configFrom.secret: is not read yet"},
		{`"config":"a",` + secret, `,"given":{"value":"a"}`, "spec.configFrom: can't be combined with config"},
		{`"configFrom":{}`, ``, "spec.configFrom: needs secret or configMap, one of them"},
		{`"configFrom":{"configMap":{"name":"a"}}`, ``, "spec.configFrom.configMap.key: is missing"},
	} {
		parsed := readObject(t, shop, spec(c.from, c.given))
		if want := "WasmFilter shop/auth: " + c.want; len(parsed.Problems) != 1 || parsed.Problems[0].Error() != want {
			t.Errorf("%v, want %s", parsed.Problems, want)
		}
	}
	for _, text := range []string{spec(secret, ``), spec(secret, `,"given":{"value":"a"}`)} {
		if file, problems := parser.Parse("a.json", []byte(text)); file != nil {
			t.Errorf("a file has %s", text)
		} else if strings.Contains(problems[0].Message, "not read yet") {
			t.Errorf("a file waits: %v", problems)
		}
	}
}

// TestSameAddress checks that listeners of two namespaces may have the same
// address.
func TestSameAddress(t *testing.T) {
	read := func(namespace, name, nodes string) *definition.File {
		text := `{"apiVersion":"wasmxds.dev/v1alpha1","kind":"Listener","metadata":{"name":"` + name + `","namespace":"` + namespace +
			`"},"spec":{"address":"0.0.0.0:80","nodes":` + nodes + `,"routes":[{"prefix":"/","upstream":"a:1"}]}}`
		return parser.ReadObject("Listener "+namespace+"/"+name, definition.Scope{Namespace: namespace}, []byte(text)).File
	}
	if _, problems := definition.Merge([]*definition.File{read("shop", "web", "{}"), read("other", "web", "{}")}); len(problems) > 0 {
		t.Error(problems)
	}
	_, problems := definition.Merge([]*definition.File{read("shop", "web", "{}"), read("shop", "api", `{"labels":{"app":"web"}}`)})
	const want = `Listener shop/api: spec.address: 0.0.0.0:80 is taken by listener "shop.web", in Listener shop/web`
	if len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("%v, want %s", problems, want)
	}
}

// matches describes the listeners that a filter is attached to.
func matches(a definition.Attach) string {
	var all []string
	for _, m := range a.Listeners {
		all = append(all, fmt.Sprintf("{%s %v %v}", m.Direction, m.Names, m.Ports))
		if len(m.Routes) > 0 {
			all = append(all, fmt.Sprint(m.Routes))
		}
	}
	return "[" + strings.Join(all, " ") + "]"
}
