package crd_test

import (
	"path/filepath"
	"testing"

	"wasmxds/definition/crd"
	"wasmxds/definition/internal/definitiontest"
)

// TestYAML checks, or with -update writes, the CRDs that users apply.
func TestYAML(t *testing.T) {
	written, err := crd.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"examples/kubernetes/crds/crds.yaml", "charts/wasmxds/files/crds.yaml"} {
		definitiontest.Golden(t, filepath.Join("..", "..", filepath.FromSlash(path)), written)
	}
}
