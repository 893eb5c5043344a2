package kubernetes_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"wasmxds/exectest"
	"wasmxds/source/kube/kubetest"
)

// tool runs kubectl or helm, and gives what it prints. What it warns of is an error.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, said, err := try(t, name, args...)
	if err != nil || said != "" {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said)
	}
	return out
}

// try runs a tool that may fail; said is what it has for people.
func try(t *testing.T, name string, args ...string) (out []byte, said string, err error) {
	t.Helper()
	path, err := exectest.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr = &errs
	// Nothing of this machine's own clusters and charts.
	home := t.TempDir()
	cmd.Env = append(cmd.Environ(), "HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	out, err = cmd.Output()
	return out, errs.String(), err
}

const (
	chart     = "../../charts/wasmxds"
	namespace = "wasmxds-system"
)

// kustomized is what an overlay says.
func kustomized(t *testing.T, overlay string) []byte {
	t.Helper()
	return tool(t, "kubectl", "kustomize", overlay)
}

// charted is what the chart says with the values of ci/NAME-values.yaml.
func charted(t *testing.T, name string, more ...string) []byte {
	t.Helper()
	return tool(t, "helm", slices.Concat([]string{"template", "xds-server", chart, "--namespace", namespace,
		"--values", filepath.Join(chart, "ci", name+"-values.yaml")}, more)...)
}

// ways are all ways to install it, with what each says.
var ways = map[string]func(*testing.T) []byte{
	"kustomize single":   func(t *testing.T) []byte { return kustomized(t, "single") },
	"kustomize replicas": func(t *testing.T) []byte { return kustomized(t, "replicas") },
	"chart namespaces":   func(t *testing.T) []byte { return charted(t, "namespaces") },
}

// byName sorts objects, without what only Helm says or only kustomize.
func byName(t *testing.T, text []byte) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, o := range kubetest.Parse(t, text) {
		if o.GetKind() == "Namespace" {
			continue // helm install --create-namespace
		}
		labels, annotations := o.GetLabels(), o.GetAnnotations()
		for _, l := range []string{"app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
			delete(labels, l)
		}
		if delete(annotations, "helm.sh/resource-policy"); len(annotations) == 0 {
			annotations = nil
		}
		o.SetAnnotations(annotations)
		o.SetLabels(labels)
		sortByName(o.Object)
		name := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = o.Object
	}
	return all
}

// sortByName puts what has a name in the order of names, where that means nothing, and
// the text of policies in a form of its own.
func sortByName(object map[string]any) {
	deployment := object["kind"] == "Deployment"
	if deployment {
		containers, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			for _, list := range []string{"ports", "volumeMounts"} {
				sortNamed(c.(map[string]any)[list])
			}
			args := c.(map[string]any)["args"].([]any)
			slices.SortFunc(args[1:], func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			// What the API server takes for these where they are left out.
			container := c.(map[string]any)
			if container["imagePullPolicy"] == nil {
				container["imagePullPolicy"] = "IfNotPresent"
			}
			for _, p := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
				get := container[p].(map[string]any)["httpGet"].(map[string]any)
				if get["scheme"] == nil {
					get["scheme"] = "HTTP"
				}
			}
		}
		_ = unstructured.SetNestedSlice(object, containers, "spec", "template", "spec", "containers")
		volumes, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "volumes")
		sortNamed(volumes)
		_ = unstructured.SetNestedSlice(object, volumes, "spec", "template", "spec", "volumes")
	}
}

func sortNamed(list any) {
	all, _ := list.([]any)
	slices.SortFunc(all, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
	})
}

// policyOf takes the policy out of objects, as rules.
func policyOf(t *testing.T, objects map[string]map[string]any) any {
	t.Helper()
	const name = "ConfigMap " + namespace + "/xds-server-policy"
	o := objects[name]
	if o == nil {
		return nil
	}
	delete(objects, name)
	text, _, err := unstructured.NestedString(o, "data", "policy.yaml")
	if err != nil || text == "" {
		t.Fatalf("%s has no policy.yaml: %v", name, err)
	}
	return runtime.DeepCopyJSON(kubetest.Parse(t, []byte(text))[0].Object)
}

// TestChartIsKustomization: the chart gives what the overlays give.
func TestChartIsKustomization(t *testing.T) {
	for _, way := range []string{"single", "replicas"} {
		t.Run(way, func(t *testing.T) {
			should, is := byName(t, kustomized(t, way)), byName(t, charted(t, way))
			if diff := cmp.Diff(policyOf(t, should), policyOf(t, is)); diff != "" {
				t.Errorf("the policies differ (-kustomize +chart):\n%s", diff)
			}
			if diff := cmp.Diff(should, is); diff != "" {
				t.Errorf("-kustomize +chart:\n%s", diff)
			}
			if way == "single" {
				if diff := cmp.Diff(string(charted(t, way)), string(tool(t, "helm", "template", "xds-server", chart, "--namespace", namespace))); diff != "" {
					t.Errorf("it is not what the chart is without values: %s", diff)
				}
			}
		})
	}
}
