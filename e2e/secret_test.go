package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"wasmxds/e2e/wasmtest"
)

// TestSecretConfig: a filter's configuration that comes from a Secret reaches Envoys,
// goes from wave to wave, fails a test and its module's start, and is in nothing that
// xds-server says or writes for people.
func TestSecretConfig(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) { newObjects(t).secret(c) })
}

func (k *objects) secret(c combination) {
	const canary = "canary"
	value := func(value string) string {
		return "---\n{apiVersion: v1, kind: Secret, metadata: {name: keys, namespace: shop}, stringData: {text: " + value + "}}\n"
	}
	keyed := func(name string, m wasmtest.Filter, more string) string {
		return fmt.Sprintf("---\n{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: %s, namespace: shop}, spec: {module: {url: %q}, configFrom: {secret: {name: keys, key: text}}%s}}\n",
			name, k.moduleURL(m), more)
	}
	adds := wasmtest.Filter{Header: "x-keyed", FromConfig: true}
	k.apply(k.listener("shop", "web") + value(canary+"-1") + keyed("keyed", adds, "") +
		keyed("usage", wasmtest.Filter{Log: canary}, ", place: service") +
		"---\n{apiVersion: wasmxds.dev/v1alpha1, kind: Rollout, metadata: {name: careful, namespace: root}, spec: {waves: ['100%'], bake: 1s}}\n")
	k.serve("--kubernetes", "--kubernetes-status", "--kubeconfig", k.cluster.Kubeconfig("admin"), "--root-namespace", "root", "--namespaces", "shop,other")
	e := k.envoy(c, "shop-1", "--node-namespace", "shop")
	l := e.load("shop.web", "x-keyed")
	k.seen(l, e.Started, "x-keyed", canary+"-1")
	start := k.apply(value(canary + "-2"))
	k.t.Logf("Secret applied → new header: %v", k.seen(l, start, "x-keyed", canary+"-2"))
	k.eventually(func() error { return k.changed("shop.keyed", "done") })

	k.t.Log("a test fails, and the configuration is in what it compares")
	k.apply("---\n{apiVersion: wasmxds.dev/v1alpha1, kind: FilterTest, metadata: {name: keyed, namespace: shop}, spec: {filter: keyed, cases: [{name: one, expect: {request: {headers: {x-keyed: other}}}}]}}\n" +
		value(canary+"-3"))
	k.eventually(func() error { return k.complains("what came is not shown") })
	if _, err := l.Seen("x-keyed", canary+"-3"); err == nil {
		k.t.Error("a version whose tests fail is served")
	}
	k.eventually(func() error { return k.shows("/api/v1/rollouts", "is another one than before") })
	k.tellsNo(canary)

	if b, err := k.server.Get(k.t.Context(), "/api/v1/services/shop.usage"); err == nil || !strings.Contains(err.Error(), "403") {
		k.t.Errorf("the service is given to everyone on loopback: %v %s", err, b)
	}
	if b, err := k.server.Bootstrap(k.t.Context(), "shop-2", "--admin", "http://"+k.server.Addresses.Admin, "--wasm-service", "shop.usage"); err == nil || !strings.Contains(err.Error(), "--admin-token-file") || strings.Contains(string(b), canary) {
		k.t.Errorf("bootstrap: %v %s", err, b)
	}
	k.good(l)
}

// changed tells whether there is a change of a filter that is an object in a state.
func (k *objects) changed(filter, state string) error {
	list, err := k.cluster.Client.Resource(schema.GroupVersionResource{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "changes"}).List(k.t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range list.Items {
		if text := fmt.Sprint(o.Object); strings.Contains(text, filter) && strings.Contains(text, state) {
			return nil
		}
	}
	return fmt.Errorf("no change of %s is %s among %d", filter, state, len(list.Items))
}

// tellsNo looks for a word in all that xds-server says and writes for people.
func (k *objects) tellsNo(word string) {
	k.t.Helper()
	look := func(where, text string) {
		if i := strings.Index(text, word); i >= 0 {
			k.t.Errorf("%s has it: …%s…", where, text[max(0, i-200):min(len(text), i+200)])
		}
		if text == "" {
			k.t.Errorf("%s is empty", where)
		}
	}
	for _, path := range []string{"/", "/filters", "/filters/shop.keyed", "/envoys", "/rollouts", "/metrics", "/api/v1/status", "/api/v1/rollouts"} {
		b, err := k.server.Get(k.t.Context(), path)
		if err != nil {
			k.t.Errorf("%s: %v", path, err)
		}
		look(path, string(b))
	}
	for _, args := range [][]string{{"rollout"}, {"status", "--all"}, {"rollout", "list", "-o", "json"}} {
		b, _ := k.server.Run(k.t.Context(), append(args, "--admin", "http://"+k.server.Addresses.Admin)...) // it has errors
		look(args[0], string(b))
	}
	for _, of := range []schema.GroupVersionResource{
		{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "wasmfilters"}, {Group: "wasmxds.dev", Version: "v1alpha1", Resource: "filtertests"},
		{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "changes"}, {Version: "v1", Resource: "events"},
	} {
		list, err := k.cluster.Client.Resource(of).List(k.t.Context(), metav1.ListOptions{})
		must(k.t, err)
		look(of.Resource, fmt.Sprint(of.Resource, list.Items))
	}
	b, err := os.ReadFile(k.server.Log())
	must(k.t, err)
	look("the log", string(b))
}

// shows tells whether a document has some words.
func (k *objects) shows(path, words string) error {
	b, err := k.server.Get(k.t.Context(), path)
	if err == nil && !strings.Contains(string(b), words) {
		err = fmt.Errorf("%s does not say %q", path, words)
	}
	return err
}
