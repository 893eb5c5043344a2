package gateway

import (
	"testing"

	"wasmxds/definition/internal/fieldtest"
)

func TestDocs(t *testing.T) {
	fieldtest.Documented(t, "../../docs/kinds.md", map[string]any{"Envoy Gateway": extensionPolicy{}})
}

// older are fields that the newest versions of the CRD no longer have.
var older = []string{
	"EnvoyExtensionPolicy spec.priority", "EnvoyExtensionPolicy spec.targetRef.namespace", "EnvoyExtensionPolicy spec.targetRefs.namespace",
}

// TestCRDs uses testdata/crds.txt, which is from
// gateway.envoyproxy.io_envoyextensionpolicies.yaml in the charts of
// github.com/envoyproxy/gateway v1.9.1.
func TestCRDs(t *testing.T) {
	fieldtest.CRDs(t, map[string]any{"EnvoyExtensionPolicy": extensionPolicy{}}, older...)
}
