package kubernetes_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"wasmxds/source/kube/kubetest"
)

// cluster is an API server, and kubectl for it.
type cluster struct {
	*kubetest.Server
	t          *testing.T
	kubeconfig string
	changed    int64 // when something changed last, in seconds
}

func newCluster(t *testing.T, s *kubetest.Server) *cluster {
	t.Helper()
	return &cluster{Server: s, t: t, kubeconfig: s.Kubeconfig("admin")}
}

// kubectl runs kubectl; a warning of the API server is an error.
func (c *cluster) kubectl(args ...string) []byte {
	c.t.Helper()
	return tool(c.t, "kubectl", append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
}

// file writes a text for kubectl to read.
func (c *cluster) file(text []byte) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "objects.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// applied applies objects on the server's side, and gives what they then are, but for
// what the API server itself says of them. It takes no field that it does not know.
func (c *cluster) applied(text []byte) map[string]any {
	c.t.Helper()
	out := c.kubectl("apply", "--server-side", "--validate=strict", "--field-manager=test", "-o", "json", "-f", c.file(text))
	objects := map[string]any{}
	for _, o := range items(c.t, out) {
		delete(o.Object, "status")
		o.SetResourceVersion("")
		o.SetManagedFields(nil)
		objects[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o.Object
	}
	if want := len(kubetest.Parse(c.t, text)); len(objects) != want {
		c.t.Fatalf("%d objects applied, of %d", len(objects), want)
	}
	return objects
}

// items are the objects that kubectl prints: a list, or the only one.
func items(t *testing.T, text []byte) []*unstructured.Unstructured {
	t.Helper()
	all := kubetest.Parse(t, text)
	if len(all) != 1 || !all[0].IsList() {
		return all
	}
	list, err := all[0].ToList()
	must(t, err)
	all = nil
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all
}

// namespaced makes the namespaces that examples are for, as restricted as the
// manifests' own.
func (c *cluster) namespaced() {
	c.t.Helper()
	text, err := os.ReadFile("base/namespace.yaml")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{namespace, "shop", "bank"} {
		c.kubectl("apply", "--server-side", "-f", c.file([]byte(strings.ReplaceAll(string(text), namespace, name))))
	}
}

// TestApply: a real API server takes each way, strictly and without a warning, and
// the same once more changes nothing.
func TestApply(t *testing.T) {
	c := newCluster(t, kubetest.Start(t))
	c.namespaced()
	for way, render := range ways {
		text := render(t)
		first := c.applied(text)
		if diff := cmp.Diff(first, c.applied(text)); diff != "" {
			t.Errorf("%s: applied again it changes:\n%s", way, diff)
		}
		c.pod(way, text)
	}
}

// pod finds out whether the namespace, which is restricted, takes the pods of a
// Deployment, and whether that would be told.
func (c *cluster) pod(way string, text []byte) {
	c.t.Helper()
	found := false
	for _, o := range kubetest.Parse(c.t, text) {
		if o.GetKind() != "Deployment" {
			continue
		}
		found = true
		for _, root := range []bool{false, true} {
			spec, _, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
			if err != nil {
				c.t.Fatal(err)
			}
			spec["securityContext"].(map[string]any)["runAsNonRoot"] = !root
			pod, err := json.Marshal(map[string]any{
				"apiVersion": "v1", "kind": "Pod", "spec": spec,
				"metadata": map[string]any{"name": "a", "namespace": o.GetNamespace()},
			})
			if err != nil {
				c.t.Fatal(err)
			}
			_, said, err := try(c.t, "kubectl", "--kubeconfig", c.kubeconfig, "create", "--dry-run=server", "-f", c.file(pod))
			if refused := strings.Contains(said, "violates PodSecurity"); refused != root || root != (err != nil) {
				c.t.Errorf("%s: a pod, as root %t: %v\n%s", way, root, err, said)
			}
		}
	}
	if !found {
		c.t.Errorf("%s has no Deployment", way)
	}
}
