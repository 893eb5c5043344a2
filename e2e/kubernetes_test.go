package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
	"wasmxds/source/kube/kubetest"
)

// TestKubernetes: definitions are objects of a cluster. Each is for the Envoys of
// its namespace; and while the API server is away, a kind is gone or xds-server
// starts without either, no request fails or passes without its filter.
func TestKubernetes(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		newObjects(t).play(c)
	})
}

// objects is a fleet whose definitions are objects.
type objects struct {
	*fleet
	cluster *kubetest.Server
}

func newObjects(t *testing.T) *objects {
	k := &objects{fleet: newFleet(t), cluster: kubetest.Start(t)}
	k.cluster.Apply(kubetest.CRDs(t))
	k.cluster.Namespace("shop", "other", "root")
	return k
}

func (k *objects) listener(namespace, name string) string {
	return fmt.Sprintf("---\n{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: %s, namespace: %s}, spec: {address: '127.0.0.1:0', routes: [{prefix: /, upstream: %q}]}}\n",
		name, namespace, k.upstream.Address())
}

func (k *objects) filter(namespace, name, value string) string {
	url := k.moduleURL(wasmtest.Filter{Header: "x-" + name, Value: value})
	return fmt.Sprintf("---\n{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: %s, namespace: %s}, spec: {module: {url: %q}}}\n",
		name, namespace, url)
}

func (k *objects) apply(text string) time.Time {
	k.t.Helper()
	start := time.Now()
	k.cluster.Apply(text)
	return start
}

func (k *objects) play(c combination) {
	k.apply(k.listener("shop", "web") + k.filter("shop", "auth", "1") + k.listener("other", "web") + k.filter("root", "all", "1"))
	k.serve("--kubernetes", "--kubeconfig", k.cluster.Kubeconfig("admin"), "--root-namespace", "root",
		"--namespaces", "shop,other")
	shop := k.envoy(c, "shop-1", "--node-namespace", "shop")
	other := k.envoy(c, "other-1", "--node-namespace", "other")
	l := shop.load("shop.web", "x-auth", "x-all")
	of := other.load("other.web", "x-all")
	k.t.Logf("Envoy started → first header: %v", k.seen(l, shop.Started, "x-auth", "1"))
	k.seen(of, other.Started, "x-all", "1")
	if _, err := of.Seen("x-auth", "1"); err == nil {
		k.t.Error("an Envoy has a filter of another namespace")
	}
	start := k.apply(k.filter("shop", "auth", "2"))
	k.t.Logf("object applied → new header: %v", k.seen(l, start, "x-auth", "2"))

	k.t.Log("the API server is killed, and xds-server, which starts without it")
	k.cluster.Kill()
	k.restartServer()
	k.eventually(func() error {
		status, err := k.server.Status(k.t.Context())
		if err != nil {
			return err
		}
		if len(status.Nodes) != 2 || len(status.Definitions.Errors) == 0 {
			return fmt.Errorf("%d Envoys, errors %v", len(status.Nodes), status.Definitions.Errors)
		}
		return nil
	})
	k.cluster.Run()
	start = k.apply(k.filter("shop", "auth", "3"))
	k.t.Logf("object applied, after both were away → new header: %v", k.seen(l, start, "x-auth", "3"))

	k.t.Log("a CRD is deleted, and with it all filters")
	filters, _, _ := strings.Cut(kubetest.CRDs(k.t), "\n---\n")
	k.cluster.Delete(filters)
	k.eventually(func() error { return k.complains("does not serve it any more") })
	k.apply(filters)
	start = k.apply(k.filter("shop", "auth", "4") + k.filter("root", "all", "1"))
	k.t.Logf("object applied, after its CRD → new header: %v", k.seen(l, start, "x-auth", "4"))
	k.good(l)
	k.good(of)
}
