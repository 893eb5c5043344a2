package crd_test

import (
	"path/filepath"
	"testing"

	"wasmxds/definition/crd"
	"wasmxds/definition/internal/definitiontest"
)

// TestYAML keeps the CRDs that people apply.
func TestYAML(t *testing.T) {
	written, err := crd.YAML()
	if err != nil {
		t.Fatal(err)
	}
	definitiontest.Golden(t, filepath.Join("..", "..", "examples", "kubernetes", "crds", "crds.yaml"), written)
}
