package kubernetes_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"wasmxds/definition"
	"wasmxds/identity"
	"wasmxds/source/kube/kubetest"
)

// policyText is the client policy among objects.
func policyText(t *testing.T, text []byte) string {
	t.Helper()
	for _, o := range kubetest.Parse(t, text) {
		if o.GetKind() == "ConfigMap" && o.GetName() == "xds-server-policy" {
			policy, _, err := unstructured.NestedString(o.Object, "data", "policy.yaml")
			must(t, err)
			return policy
		}
	}
	return ""
}

// TestPolicy: the replicas' policy holds an Envoy to the namespace in its certificate.
func TestPolicy(t *testing.T) {
	policy, problems := identity.Parse("policy.yaml", []byte(policyText(t, kustomized(t, "replicas"))))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const shop = "spiffe://cluster.local/ns/shop/sa/envoy"
	for name, c := range map[string]struct {
		who    string
		labels map[string]string
		ok     bool
	}{
		"its own namespace":    {shop, map[string]string{definition.NamespaceLabel: "shop"}, true},
		"with labels":          {shop, map[string]string{definition.NamespaceLabel: "shop", "tier": "canary", "gateway.networking.k8s.io/gateway-name": "web"}, true},
		"no namespace":         {shop, nil, true},
		"another namespace":    {shop, map[string]string{definition.NamespaceLabel: "bank"}, false},
		"another trust domain": {"spiffe://example.com/ns/shop/sa/envoy", map[string]string{definition.NamespaceLabel: "shop"}, false},
		"no service account":   {"spiffe://cluster.local/ns/shop", nil, false},
		"xds-server's own":     {"xds-server.wasmxds-system", nil, false},
	} {
		err := policy.Allow([]string{c.who}, definition.Node{ID: "envoy-5c9f-abcde", Cluster: "edge", Labels: c.labels})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
