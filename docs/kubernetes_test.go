package docs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"wasmxds/e2e/harness"
)

// manifest is the part of Kubernetes' objects that is looked at here;
// examples/kubernetes/validate checks all of it.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct {
			Spec struct {
				Containers []struct{ Args []string }
			}
		}
	}
}

func manifests(t *testing.T, path string) map[string]manifest {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	all := map[string]manifest{}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all[m.Kind+"/"+m.Metadata.Name] = m
	}
}

// TestKubernetes: the definitions in the manifests are valid, the flags are
// those of serve, and Envoy's bootstrap is what the comment beside it prints.
func TestKubernetes(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	dir := t.TempDir()
	program, err := harness.BuildServer(t.Context(), root, dir)
	must(t, err)
	folder := filepath.Join(root, "examples", "kubernetes")

	server := manifests(t, filepath.Join(folder, "xds-server.yaml"))
	definitions := filepath.Join(dir, "definitions")
	must(t, os.Mkdir(definitions, 0o755))
	for name, text := range server["ConfigMap/wasmxds-definitions"].Data {
		must(t, os.WriteFile(filepath.Join(definitions, name), []byte(text), 0o644))
	}
	if out, err := exec.Command(program, "validate", definitions).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "valid: 1 filter, 1 listener") {
		t.Errorf("validate: %v\n%s", err, out)
	}
	args := server["Deployment/xds-server"].Spec.Template.Spec.Containers[0].Args
	if out, err := exec.Command(program, append(args, "--help")...).CombinedOutput(); err != nil || args[0] != "serve" {
		t.Errorf("xds-server %q: %v\n%s", args, err, out)
	}

	envoys, err := harness.Envoys(t.Context(), root)
	must(t, err)
	for file, flags := range map[string][]string{
		"envoy.yaml":      {"--xds-address", "xds-server:18000"},
		"shop/envoy.yaml": {"--node-namespace", "shop", "--xds-address", "xds-server.wasmxds-system:18000"},
	} {
		got := manifests(t, filepath.Join(folder, file))["ConfigMap/envoy-bootstrap"].Data["envoy.yaml"]
		bootstrap, err := exec.Command(program, append([]string{"bootstrap", "--node-id", "envoy", "--node-cluster", "edge"}, flags...)...).Output()
		must(t, err)
		if got != string(bootstrap) {
			t.Errorf("%s: the ConfigMap envoy-bootstrap differs from what the command in it prints:\n%s", file, bootstrap)
		}
		path := filepath.Join(dir, "envoy.yaml")
		must(t, os.WriteFile(path, []byte(got), 0o644))
		for _, envoy := range envoys {
			if out, err := exec.Command(envoy.Path, "--mode", "validate", "--config-path", path, "--service-node", "pod-1").CombinedOutput(); err != nil {
				t.Errorf("%s: Envoy %s: %v\n%s", file, envoy.Version, err, out)
			}
		}
	}
}
