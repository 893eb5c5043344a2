package kubernetes_test

import (
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/source/kube/kubetest"
)

// helm runs helm with the cluster.
func (c *cluster) helm(args ...string) string {
	c.t.Helper()
	out, said, err := try(c.t, "helm", append(args, "--kubeconfig", c.kubeconfig, "--namespace", namespace)...)
	if err != nil {
		c.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return string(out)
}

// TestHelm: Helm installs the chart on a real API server, upgrades it to replicas, says
// that all is as it was when nothing is to be done, and leaves the state and the CRDs,
// and with them the objects, when it is uninstalled.
func TestHelm(t *testing.T) {
	c := newCluster(t, kubetest.Start(t))
	has := func(kind, name string) bool {
		t.Helper()
		out := c.kubectl("get", kind, "--namespace", namespace, "--ignore-not-found", "-o", "name", name)
		return len(out) > 0
	}
	out := c.helm("install", "xds-server", chart, "--create-namespace")
	if !strings.Contains(out, "STATUS: deployed") || !strings.Contains(out, "xds-server bootstrap") {
		t.Errorf("install: %s", out)
	}
	c.namespaced()
	c.Apply(objects)
	if !has("persistentvolumeclaim", "xds-server") || has("poddisruptionbudget", "xds-server") {
		t.Error("installed is not what single is")
	}
	replicas := filepath.Join(chart, "ci", "replicas-values.yaml")
	c.helm("upgrade", "xds-server", chart, "--values", replicas)
	if !has("poddisruptionbudget", "xds-server") || !has("role", "xds-server-state") || !has("persistentvolumeclaim", "xds-server") {
		t.Error("upgraded is not what replicas is")
	}
	generation := c.kubectl("get", "deployment/xds-server", "--namespace", namespace, "-o", "jsonpath={.metadata.generation}")
	c.helm("upgrade", "xds-server", chart, "--values", replicas)
	if again := c.kubectl("get", "deployment/xds-server", "--namespace", namespace, "-o", "jsonpath={.metadata.generation}"); string(again) != string(generation) {
		t.Errorf("an upgrade to the same changes the Deployment: generation %s, was %s", again, generation)
	}
	c.helm("uninstall", "xds-server")
	if has("deployment", "xds-server") {
		t.Error("the Deployment outlives its release")
	}
	if !has("persistentvolumeclaim", "xds-server") {
		t.Error("what xds-server knew is gone")
	}
	if out := c.kubectl("get", "wasmfilters", "--all-namespaces", "-o", "name"); !strings.Contains(string(out), "/hello") {
		t.Errorf("the objects are gone: %s", out)
	}
}
