package source

import (
	"fmt"
	"strings"
	"testing"
	"wasmxds/source/internal/sourcetest"
)

func withheld(u Update) string { return sourcetest.Withheld(u.Set) }

func prefixes(u Update) string { return sourcetest.Prefixes(u.Set) }

// TestHoles: each step writes files, and lists the withheld listeners, and the
// listeners in the set with their versions.
func TestHoles(t *testing.T) {
	type step struct {
		files    map[string]string
		withheld string
		served   string
	}
	files := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	list := "apiVersion: v1\nkind: List\nitems:\n"
	const tcpListener = "kind: Listener\nname: db\naddress: 127.0.0.1:0\ntcp: {upstream: \"a:1\"}\n"
	plugin := func(name, field string) string {
		return fmt.Sprintf("- {apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: %s}, spec: {%s: \"file:///a.wasm\"}}\n", name, field)
	}
	several := func(field string) string {
		return "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: a}\nspec:\n  wasm: {" + field + ": \"file:///a.wasm\"}\n" +
			"  targetRefs:\n  - {group: gateway.networking.k8s.io, kind: Gateway, name: b}\n  - {group: gateway.networking.k8s.io, kind: Gateway, name: c}\n"
	}
	for name, steps := range map[string][]step{
		"first start": {
			{files("web.yaml", listener("web"), "a.yaml", "kind: WasmFilter\nnam: a\n"), "web", "web/"},
			{files("a.yaml", filter("a", "")), "", "web/"},
		},
		"in force before": {
			{files("web.yaml", listener("web")), "", "web/"},
			{files("a.yaml", "kind: ["), "", "web/"},
			{files("api.yaml", listener("api")), "api", "api/ web/"},
			{files("web.yaml", routed("web", "new")), "api", "api/ web/"},
			{files("web.yaml", listener("web")), "api", "api/ web/"},
			{files("web.yaml", routed("web", "new"), "a.yaml", ""), "", "api/ web/new"},
		},
		"a network filter, or what may be one": {
			{files("db.yaml", tcpListener, "a.yaml", "kind: WasmFilter\nname: a\nnam: a\nplace: network\n"), "db", "db:tcp"},
			{files("a.yaml", "kind: WasmFilter\nname: a\nnam: a\nplace: netwrok\n"), "db", "db:tcp"},
			{files("a.yaml", "kind: ["), "db", "db:tcp"},
			{files("a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: a}\nspec: {type: NETWORK}\n"), "db", "db:tcp"},
			{files("a.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\nspec: {configPatches: [{applyTo: NETWORK_FILTER, patch: {}}]}\n"), "db", "db:tcp"},
			{files("a.yaml", ""), "", "db:tcp"},
		},
		"an HTTP filter, and a listener that is not for HTTP": {
			{files("db.yaml", tcpListener, "a.yaml", "kind: WasmFilter\nname: a\nnam: a\n"), "", "db:tcp"},
			{files("a.yaml", "kind: WasmFilter\nname: a\nnam: a\nplace: before x\n"), "", "db:tcp"},
			{files("a.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: a}\nspec: {}\n"), "", "db:tcp"},
			{files("a.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\nspec: {configPatches: [{applyTo: HTTP_FILTER, patch: {}}]}\n"), "", "db:tcp"},
		},
		"an open one": {
			{files("web.yaml", listener("web"), "a.yaml", "kind: WasmFilter\nname: a\nnam: a\nonFailure: open\n"), "", "web/"},
		},
		"a broken listener": {
			{files("web.yaml", listener("web"), "api.yaml", "kind: Listener\nname: api\n"), "", "web/"},
		},
		"attached elsewhere": {
			{files("web.yaml", listener("web"), "api.yaml", listener("api"), "a.yaml", "kind: WasmFilter\nname: a\nnam: a\nattach: {listeners: [api]}\n"), "api", "api/ web/"},
		},
		"attached by a mistyped name": {
			{files("web.yaml", listener("web"), "api.yaml", listener("api"), "a.yaml", attached("a", "", "wbe")), "web", "api/ web/"},
		},
		"a name that is taken": {
			{files("a.yaml", filter("a", "")+"attach: {listeners: []}\n", "b.yaml", filter("a", ""), "web.yaml", listener("web")), "web", "web/"},
		},
		"good itself, in a file with a mistake": {
			{files("web.yaml", listener("web"), "a.yaml", filter("a", "")+"---\nkind: Listener\nname: x\n"), "web", "web/"},
		},
		"a file that was good": {
			{files("a.yaml", filter("a", "")), "", ""},
			{files("a.yaml", "kind: ["), "", ""},
			{files("web.yaml", listener("web")), "", "web/"},
			{files("a.yaml", filter("a", "")+"---\nkind: WasmFilter\nname: b\n", "api.yaml", listener("api")), "api", "api/ web/"},
		},
		"one of several Gateways that was good": {
			{files("a.yaml", several("url")), "", ""},
			{files("a.yaml", several("ulr"), "web.yaml", listener("web")), "", "web/"},
		},
		"a List": {
			{files("web.yaml", listener("web"), "l.yaml", list+plugin("a", "url")+plugin("b", "ulr")), "web", "web/"},
			{files("l.yaml", list+plugin("a", "url")+"- {apiVersion: v1, kind: Service, metadata: {name: s}}\n"), "", "web/"},
		},
		"nothing but what is unrelated": {
			{files("web.yaml", listener("web"), "s.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: wasm}\n"), "", "web/"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStill(t)
			for i, step := range steps {
				s.write(step.files)
				u := s.look()
				if got := withheld(u); got != step.withheld || prefixes(u) != step.served {
					t.Errorf("step %d: withheld %q, served %q; want %q, %q; problems %v", i, got, prefixes(u), step.withheld, step.served, u.Problems)
				}
				told := strings.Contains(fmt.Sprint(u.Problems), "is withheld: a filter that may be meant for it")
				if told != (step.withheld != "") {
					t.Errorf("step %d: problems %v", i, u.Problems)
				}
			}
		})
	}
}

// TestListKeepsWhatWasGood checks that an item of a List that becomes invalid
// stays unchanged.
func TestListKeepsWhatWasGood(t *testing.T) {
	item := func(name, field string) string {
		return fmt.Sprintf("- {apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: %s}, spec: {%s: \"file:///a.wasm\"}}\n", name, field)
	}
	s := newStill(t)
	for i, step := range []struct{ items, filters string }{
		{item("a", "url") + item("b", "ulr"), "a"},
		{item("a", "ulr") + item("b", "url"), "a"},
		{item("a", "url") + item("b", "url"), "a b"},
	} {
		s.write(map[string]string{"l.yaml": "apiVersion: v1\nkind: List\nitems:\n" + step.items})
		if u := s.look(); filterNames(u) != step.filters {
			t.Errorf("step %d: filters %q, want %q; problems %v", i, filterNames(u), step.filters, u.Problems)
		}
	}
}
