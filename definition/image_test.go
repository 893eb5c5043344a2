package definition_test

import (
	"fmt"
	"testing"
)

// TestImage checks, for each kind that names an image, that its registry is the
// one that Docker assumes.
func TestImage(t *testing.T) {
	plugin := "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: p}\nspec: {url: %q}"
	policy := `apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g, sectionName: web}]
  wasm: [{code: {type: Image, image: {url: %q}}}]`
	native := "kind: WasmFilter\nname: p\nmodule: {url: %q}"
	for _, c := range []struct{ form, written, want string }{
		{plugin, "someone/filter:v1", "oci://docker.io/someone/filter:v1"},
		{plugin, "oci://someone/filter:v1", "oci://docker.io/someone/filter:v1"},
		{plugin, "filter", "oci://docker.io/library/filter"},
		{plugin, "filter:v1", "oci://docker.io/library/filter:v1"},
		{plugin, "filter:5000", "oci://docker.io/library/filter:5000"},
		{plugin, "docker.io/filter:v1", "oci://docker.io/library/filter:v1"},
		{plugin, "docker.io/someone/filter", "oci://docker.io/someone/filter"},
		{plugin, "index.docker.io/someone/filter", "oci://docker.io/someone/filter"},
		{plugin, "ghcr.io/someone/filter:v1", "oci://ghcr.io/someone/filter:v1"},
		{plugin, "registry:5000/filter", "oci://registry:5000/filter"},
		{plugin, "localhost/filter", "oci://localhost/filter"},
		{plugin, "Registry/filter", "oci://Registry/filter"},
		{plugin, "[::1]:5000/filter", "oci://[::1]:5000/filter"},
		{plugin, "a/b/c/filter:v1", "oci://docker.io/a/b/c/filter:v1"},
		{plugin, "ghcr.io", ""},
		{plugin, "localhost:5000", ""},
		{plugin, "https://someone/filter", "https://someone/filter"},
		{policy, "someone/filter:v1", "oci://docker.io/someone/filter:v1"},
		{policy, "oci://filter:v1", "oci://docker.io/library/filter:v1"},
		{native, "oci://someone/filter:v1", "oci://docker.io/someone/filter:v1"},
		{native, "someone/filter.wasm", "file:someone/filter.wasm"},
	} {
		file, problems := parser.Parse("p.yaml", fmt.Appendf(nil, c.form, c.written))
		switch {
		case c.want == "" && file != nil:
			t.Errorf("%s: %s", c.written, file.Filters[0].Module.URL)
		case c.want != "" && file == nil:
			t.Errorf("%s: %v", c.written, problems)
		case c.want != "" && file.Filters[0].Module.URL != c.want:
			t.Errorf("%s: %s, want %s", c.written, file.Filters[0].Module.URL, c.want)
		}
	}
}
