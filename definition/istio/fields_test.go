package istio

import (
	"testing"

	"wasmxds/definition/internal/fieldtest"
)

func TestDocs(t *testing.T) {
	fieldtest.Documented(t, "../../docs/kinds.md", map[string]any{"Istio: WasmPlugin": wasmPlugin{}, "Istio: TrafficExtension": trafficExtension{}, "Istio: EnvoyFilter": envoyFilter{}})
}

// TestCRDs uses testdata/crds.txt, which is from
// kubernetes/customresourcedefinitions.gen.yaml in istio.io/api v1.32.0.
func TestCRDs(t *testing.T) {
	fieldtest.CRDs(t, map[string]any{"WasmPlugin": wasmPlugin{}, "TrafficExtension": trafficExtension{}, "EnvoyFilter": envoyFilter{}})
}
