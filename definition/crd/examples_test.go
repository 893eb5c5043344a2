package crd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// replace puts a mistake in the place of the _.
func replace(around, mistake string) string { return strings.Replace(around, "_", mistake, 1) }

// object makes an object from a native document. All have the same name, since
// the document's may not be valid for an object.
func object(t *testing.T, n *document.Node) *unstructured.Unstructured {
	t.Helper()
	var spec map[string]any
	if err := json.Unmarshal(n.Without("kind", "name").JSON(), &spec); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": definition.APIVersion,
		"kind":       document.TextOf(n.Get("kind")),
		"metadata":   map[string]any{"name": "it", "namespace": "default"},
		"spec":       spec,
	}}
}

// examples returns the native documents of a file, except those whose modules
// are files beside it.
func examples(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := document.YAML
	if filepath.Ext(path) == ".json" {
		read = document.JSON
	}
	docs, _ := read(data)
	var all []string
	for _, n := range docs {
		switch document.TextOf(n.Get("kind")) {
		case "WasmFilter":
			if url := document.TextOf(n.Get("module").Get("url")); url != "" && !strings.Contains(url, "://") {
				continue
			}
		case "Listener", "Rollout":
		default:
			continue
		}
		if n.Get("apiVersion") == nil {
			all = append(all, string(n.JSON()))
		}
	}
	return all
}
