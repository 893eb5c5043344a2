package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wasmxds/definition"
	"wasmxds/source"
	"wasmxds/source/internal/sourcetest"
	"wasmxds/source/kube"
	"wasmxds/source/kube/kubetest"
	"wasmxds/state/statetest"
)

// joined records what a server would get.
type joined struct {
	*testing.T
	mu  sync.Mutex
	all []source.Update
	end func()
}

// join reads a cluster, with the state in a folder, until it is ended.
func join(t *testing.T, c *kube.Cluster, data string) *joined {
	t.Helper()
	p := statetest.Start(t, data)
	ctx, cancel := context.WithCancel(context.Background())
	j := &joined{T: t}
	done := make(chan error, 1)
	c.Log = slog.New(slog.DiscardHandler)
	of := &source.Join{Sources: []source.Source{c.Source()}, State: p.Writer, Log: c.Log}
	go func() {
		done <- of.Run(ctx, func(u source.Update) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.all = append(j.all, u)
		})
	}()
	j.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.End()
	})
	t.Cleanup(j.end)
	return j
}

// last returns the newest update.
func (j *joined) last() source.Update {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.all) == 0 {
		return source.Update{}
	}
	return j.all[len(j.all)-1]
}

// state returns the filters and problems in one line.
func (j *joined) state() string {
	u := j.last()
	words := []string{sourcetest.FilterNames(u.Set)}
	for _, p := range u.Problems {
		words = append(words, p.Error())
	}
	return strings.Join(words, "; ")
}

// want waits for the filters, and a problem with this prefix; "": none.
func (j *joined) want(filters, problem string) {
	j.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := j.state()
		of, problems, _ := strings.Cut(got, "; ")
		if of == filters && strings.HasPrefix(problems, problem) && (problem == "") == (problems == "") {
			return
		}
		if time.Now().After(end) {
			j.Fatalf("have %q, want %q; %q", got, filters, problem)
		}
	}
}

// started returns an API server with the CRDs and some namespaces.
func started(t *testing.T) *kubetest.Server {
	t.Helper()
	s := kubetest.Start(t)
	s.Apply(kubetest.CRDs(t))
	s.Namespace("shop", "other", kube.DefaultRoot)
	return s
}

func wasmFilter(namespace, name, root string) string {
	return fmt.Sprintf("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: %s, namespace: %s}, spec: {module: {url: 'https://a/b'}, rootID: %q}}\n---\n",
		name, namespace, root)
}

// TestCluster checks that objects and kinds are added, changed and removed.
func TestCluster(t *testing.T) {
	s := started(t)
	s.Apply(wasmFilter("shop", "auth", "1") + wasmFilter("other", "auth", "1"))
	j := join(t, &kube.Cluster{Config: s.Config}, t.TempDir())
	j.want("other.auth=1 shop.auth=1", "")
	nodes := func(name string) definition.Selector {
		for _, f := range j.last().Set.Filters {
			if f.Name == name {
				return f.Attach.Nodes
			}
		}
		return definition.Selector{}
	}
	if got := nodes("shop.auth").Labels[definition.NamespaceLabel]; got != "shop" {
		t.Errorf("shop.auth is for the Envoys of %q", got)
	}
	s.Apply(wasmFilter("shop", "auth", "2") + wasmFilter(kube.DefaultRoot, "all", "1"))
	j.want("other.auth=1 shop.auth=2 wasmxds-system.all=1", "")
	if got := nodes("wasmxds-system.all"); len(got.Labels) > 0 {
		t.Errorf("one of the root namespace is for %v", got)
	}
	s.Delete(wasmFilter("other", "auth", "1"))
	j.want("shop.auth=2 wasmxds-system.all=1", "")

	t.Log("a kind comes later")
	s.Apply(kubetest.PluginCRD)
	s.Apply("{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: auth, namespace: other}, spec: {url: 'https://a/b', pluginName: p}}")
	j.want("other.auth=p shop.auth=2 wasmxds-system.all=1", "")
	s.Apply("{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: auth, namespace: other}, spec: {url: 'ftp://a/b', pluginName: p}}")
	j.want("other.auth=p shop.auth=2 wasmxds-system.all=1", "WasmPlugin other/auth: spec.url: ")

	t.Log("its CRD is deleted, and with it its objects")
	s.Delete(kubetest.PluginCRD)
	j.want("other.auth=p shop.auth=2 wasmxds-system.all=1", "Kubernetes: WasmPlugin: the API server does not serve it any more: ")
	s.Apply(kubetest.PluginCRD)
	s.Apply("{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: auth, namespace: other}, spec: {url: 'https://a/b', pluginName: q}}")
	j.want("other.auth=q shop.auth=2 wasmxds-system.all=1", "")

	t.Log("what somebody holds is there until it is let go")
	patch := func(finalizers string) {
		t.Helper()
		o := kubetest.Parse(t, []byte(wasmFilter("shop", "auth", "2")))[0]
		_, err := s.Of(o).Patch(t.Context(), "auth", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	patch(`["example.com/holds"]`)
	o := kubetest.Parse(t, []byte(wasmFilter("shop", "auth", "2")))[0]
	if err := s.Of(o).Delete(t.Context(), "auth", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Apply(wasmFilter("shop", "b", "1"))
	j.want("other.auth=q shop.auth=2 shop.b=1 wasmxds-system.all=1", "")
	patch(`[]`)
	j.want("other.auth=q shop.b=1 wasmxds-system.all=1", "")
}

// TestConfigFrom checks that a filter's configuration follows a Secret, and
// that the last good one is used while the Secret is missing.
func TestConfigFrom(t *testing.T) {
	s := started(t)
	secret := func(text string) string {
		return "{apiVersion: v1, kind: Secret, metadata: {name: keys, namespace: shop}, stringData: {json: '" + text + "'}}"
	}
	s.Apply(rights + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: keys, namespace: shop}
rules:
- {apiGroups: [""], resources: [secrets], resourceNames: [keys], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keys, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: keys}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: xds-server}]
`)
	s.Apply(secret("one"))
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: auth, namespace: shop}, spec: {module: {url: 'https://a/b'}, configFrom: {secret: {name: keys, key: json}}}}")
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: maps, namespace: shop}, spec: {module: {url: 'https://a/b'}, configFrom: {configMap: {name: keys, key: json}}}}")
	j := join(t, &kube.Cluster{Config: s.As("xds-server"), Kinds: []string{"WasmFilter", "Listener", "Rollout"}}, t.TempDir())
	const denied = "WasmFilter shop/maps: spec.configFrom.configMap: ConfigMap shop/keys may not be read"
	config := func(want string) {
		t.Helper()
		j.want("shop.auth", denied)
		for end := time.Now().Add(60 * time.Second); !strings.Contains(string(j.last().Set.Filters[0].Config.GetValue()), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the configuration is %s, want %s", j.last().Set.Filters[0].Config, want)
			}
		}
	}
	config("one")
	s.Apply(secret("two"))
	config("two")
	s.Delete(secret(""))
	j.want("shop.auth", "WasmFilter shop/auth: spec.configFrom.secret: Secret shop/keys is not there")
	s.Apply(secret("three"))
	config("three")
}

// TestServerAway checks that nothing is removed while the API server is
// unavailable, even if xds-server starts then, and that changes are found
// afterwards.
func TestServerAway(t *testing.T) {
	s := started(t)
	s.Apply(wasmFilter("shop", "a", "1") + wasmFilter("shop", "b", "1"))
	data := t.TempDir()
	j := join(t, &kube.Cluster{Config: s.Config}, data)
	j.want("shop.a=1 shop.b=1", "")
	s.Kill()
	j.want("shop.a=1 shop.b=1", "Kubernetes: the API server can't be reached: ")
	j.end()
	j = join(t, &kube.Cluster{Config: s.Config}, data)
	j.want("shop.a=1 shop.b=1", "Kubernetes: the API server can't be reached: ")
	s.Run()
	s.Delete(wasmFilter("shop", "a", "1"))
	s.Apply(wasmFilter("shop", "c", "1"))
	j.want("shop.b=1 shop.c=1", "")
	j.end()

	nothing := join(t, &kube.Cluster{Config: s.As("admin", "https://127.0.0.1:1")}, t.TempDir())
	nothing.want("unknown", "Kubernetes: the API server can't be reached: ")
}

const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: xds-server}
rules:
- {apiGroups: [wasmxds.dev], resources: [wasmfilters, listeners, rollouts], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: xds-server}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: xds-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: xds-server}]
`

// TestPermissionTaken checks that a kind that may no longer be read stays
// unchanged, with a problem, while others are followed.
func TestPermissionTaken(t *testing.T) {
	s := started(t)
	s.Apply(rights + "---\n" + wasmFilter("shop", "a", "1"))
	kinds := []string{"WasmFilter", "Listener", "Rollout"}
	j := join(t, &kube.Cluster{Config: s.As("xds-server"), Kinds: kinds}, t.TempDir())
	j.want("shop.a=1", "")
	s.Apply(strings.Replace(rights, "wasmfilters, ", "", 1))
	s.Kill() // otherwise, the watch would continue for minutes
	s.Run()
	j.want("shop.a=1", "Kubernetes: WasmFilter: may not be read: ")
	s.Delete(wasmFilter("shop", "a", "1"))
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: web, namespace: shop}, spec: {address: '0.0.0.0:80', routes: [{prefix: /, upstream: 'a:1'}]}}")
	for end := time.Now().Add(60 * time.Second); len(j.last().Set.Listeners) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("other kinds are not followed")
		}
	}
	j.want("shop.a=1", "Kubernetes: WasmFilter: may not be read: ")
	s.Apply(rights)
	j.want("", "")
}

// TestNamespaces checks that other namespaces are not read, and require no
// permission.
func TestNamespaces(t *testing.T) {
	s := started(t)
	s.Apply(wasmFilter("shop", "a", "1") + wasmFilter("other", "a", "1") + wasmFilter(kube.DefaultRoot, "a", "1"))
	for _, namespace := range []string{"shop", kube.DefaultRoot} {
		role := strings.NewReplacer("kind: ClusterRole}", "kind: Role}", "kind: ClusterRole\n", "kind: Role\n", "kind: ClusterRole,", "kind: Role,",
			"ClusterRoleBinding", "RoleBinding", "metadata: {name: xds-server}", "metadata: {name: xds-server, namespace: "+namespace+"}").Replace(rights)
		s.Apply(role)
	}
	j := join(t, &kube.Cluster{Config: s.As("xds-server"), Namespaces: []string{"shop"}, Kinds: []string{"WasmFilter"}}, t.TempDir())
	j.want("shop.a=1 wasmxds-system.a=1", "")
}

// TestThousand checks that a thousand objects in two hundred namespaces, and a
// change of one, are read fast.
func TestThousand(t *testing.T) {
	objects := 1000
	if testing.Short() {
		objects = 200
	}
	s := started(t)
	var namespaces []string
	for i := range objects / 5 {
		namespaces = append(namespaces, fmt.Sprintf("ns-%d", i))
	}
	s.Namespace(namespaces...)
	for i := range objects {
		s.Apply(wasmFilter(namespaces[i%len(namespaces)], fmt.Sprintf("f-%d", i), "1"))
	}
	began := time.Now()
	j := join(t, &kube.Cluster{Config: s.Config}, t.TempDir())
	count := func(n int, root string) bool {
		set := j.last().Set
		if set == nil || len(set.Filters) != objects {
			return false
		}
		for _, f := range set.Filters {
			if f.RootID == root {
				n--
			}
		}
		return n == 0
	}
	wait := func(n int, root string) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); !count(n, root); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d filters", len(j.last().Set.Filters))
			}
		}
	}
	wait(objects, "1")
	t.Logf("%d objects are read after %v", objects, time.Since(began))
	var took []time.Duration
	for i := range 20 {
		began = time.Now()
		s.Apply(wasmFilter(namespaces[i], fmt.Sprintf("f-%d", i), "2"))
		wait(i+1, "2")
		took = append(took, time.Since(began))
	}
	t.Logf("changes are seen after %v", took)
}
