package kubernetes_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"wasmxds/e2e/harness"
	"wasmxds/exectest"
	"wasmxds/source/kube/kubetest"
)

const account = "system:serviceaccount:" + namespace + ":xds-server"

// objects are some of each kind, in a namespace; of what xds-server refuses, too.
const objects = `
apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: hello, namespace: shop}
spec: {module: {url: "file:///nowhere/hello.wasm"}}
---
apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: refused, namespace: shop}
spec: {module: {url: "file:///nowhere/hello.wasm"}, attach: {nodes: {ids: ["a["]}}}
---
apiVersion: wasmxds.dev/v1alpha1
kind: LuaFilter
metadata: {name: script, namespace: shop}
spec: {inline: "x = 1"}
---
apiVersion: wasmxds.dev/v1alpha1
kind: FilterTest
metadata: {name: script, namespace: shop}
spec: {filter: script, cases: [{name: nothing}]}
---
apiVersion: wasmxds.dev/v1alpha1
kind: Listener
metadata: {name: web, namespace: shop}
spec: {address: "127.0.0.1:8080", routes: [{prefix: /, upstream: "127.0.0.1:9000"}]}
---
apiVersion: wasmxds.dev/v1alpha1
kind: Rollout
metadata: {name: careful, namespace: shop}
spec: {match: {definitions: ["*"]}, waves: [1, 100%]}
`

// naming are filters that name Secrets, and these.
const naming = `
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: shop}
stringData: {json: "{}"}
---
apiVersion: v1
kind: Secret
metadata: {name: registry, namespace: shop}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '{"auths": {}}'}
---
apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: configured, namespace: shop}
spec: {module: {url: "file:///nowhere/hello.wasm"}, configFrom: {secret: {name: keys, key: json}}}
---
apiVersion: wasmxds.dev/v1alpha1
kind: Listener
metadata: {name: tls, namespace: shop}
spec: {address: "127.0.0.1:8443", tls: {secret: web-tls, clientSecret: web-clients}, routes: [{prefix: /, upstream: "127.0.0.1:9000"}]}
---
apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: pulled, namespace: shop}
spec: {module: {url: "oci://127.0.0.1:1/hello:v1", pullSecret: registry}}
`

// forgotten is a Change that xds-server wrote at some time, of which it knows no more.
const forgotten = `
apiVersion: wasmxds.dev/v1alpha1
kind: Change
metadata: {name: forgotten, namespace: wasmxds-system, labels: {app.kubernetes.io/managed-by: xds-server}}
status: {id: forgotten, state: done}
`

// again has something change that is in force, once a second.
func (c *cluster) again() {
	c.t.Helper()
	now := time.Now().Unix()
	if now == c.changed {
		return
	}
	c.changed = now
	c.Apply(fmt.Sprintf("{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: web, namespace: shop}, "+
		"spec: {address: '127.0.0.1:8080', routes: [{prefix: /%d, upstream: '127.0.0.1:9000'}]}}", now))
	// So much that a state in Secrets has to put it into others again and again.
	noise := make([]byte, 48<<10)
	_, _ = rand.Read(noise) // it never fails
	c.Apply(fmt.Sprintf("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: large, namespace: shop}, "+
		"spec: {module: {url: 'file:///nowhere/hello.wasm'}, config: %q}}", base64.StdEncoding.EncodeToString(noise)))
}

// others are CRDs as Istio and Envoy Gateway have them, as far as is looked at here.
func others() string {
	var all []string
	for _, of := range [][]string{
		{"WasmPlugin", "wasmplugins", "extensions.istio.io", "v1alpha1"},
		{"TrafficExtension", "trafficextensions", "extensions.istio.io", "v1alpha1"},
		{"EnvoyFilter", "envoyfilters", "networking.istio.io", "v1alpha3"},
		{"EnvoyExtensionPolicy", "envoyextensionpolicies", "gateway.envoyproxy.io", "v1alpha1"},
	} {
		all = append(all, fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.%[3]s}
spec:
  group: %[3]s
  names: {kind: %[1]s, plural: %[2]s}
  scope: Namespaced
  versions:
  - {name: %[4]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, of[0], of[1], of[2], of[3]))
	}
	return strings.Join(all, "---\n")
}

// granted are the rights that objects grant xds-server, each with the role that has it.
func granted(t *testing.T, text []byte) map[kubetest.Right]*unstructured.Unstructured {
	t.Helper()
	roles, bound := map[string]*unstructured.Unstructured{}, map[string]bool{}
	for _, o := range kubetest.Parse(t, text) {
		switch o.GetKind() {
		case "Role", "ClusterRole":
			roles[o.GetKind()+" "+o.GetName()] = o
		case "RoleBinding", "ClusterRoleBinding":
			kind, _, _ := unstructured.NestedString(o.Object, "roleRef", "kind")
			name, _, _ := unstructured.NestedString(o.Object, "roleRef", "name")
			bound[kind+" "+name] = true
		}
	}
	rights := map[kubetest.Right]*unstructured.Unstructured{}
	for name := range bound {
		eachRight(roles[name], func(r kubetest.Right) { rights[r] = roles[name] })
	}
	if len(rights) == 0 {
		t.Fatal("nothing is granted")
	}
	return rights
}

// eachRight calls f with all that a role grants.
func eachRight(role *unstructured.Unstructured, f func(kubetest.Right)) {
	rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
	for _, rule := range rules {
		groups, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "apiGroups")
		resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
		verbs, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "verbs")
		for _, resource := range resources {
			name, sub, _ := strings.Cut(resource, "/")
			for _, verb := range verbs {
				f(kubetest.NewRight(verb, groups[0], name, sub))
			}
		}
	}
}

// without is a role that has all rights but one.
func without(role *unstructured.Unstructured, gone kubetest.Right) []byte {
	less := role.DeepCopy()
	var rules []any
	eachRight(role, func(r kubetest.Right) {
		if r == gone {
			return
		}
		resource, sub, _ := strings.Cut(r.Resource, "/")
		name, group, _ := strings.Cut(resource, ".")
		if sub != "" {
			name += "/" + sub
		}
		rules = append(rules, map[string]any{"apiGroups": []any{group}, "resources": []any{name}, "verbs": []any{r.Verb}})
	})
	less.Object["rules"] = rules
	text, err := json.Marshal(less.Object)
	if err != nil {
		panic(err) // it came from JSON
	}
	return text
}

// pod plays the pod of a Deployment: xds-server with the arguments that are in it, on
// loopback and in a folder, as the ServiceAccount.
type pod struct {
	*exectest.Process
	t         *testing.T
	log       string
	addresses string // file
}

// run starts xds-server as a Deployment says, with more variables, and waits until it
// serves.
func (c *cluster) run(program string, text []byte, env ...string) *pod {
	c.t.Helper()
	p := c.start(program, text, env...)
	must(c.t, harness.Poll(c.t.Context(), time.Minute, func() error {
		if err := p.Running(); err != nil {
			return err
		}
		_, err := p.serves()
		return err
	}))
	return p
}

// start starts it, which may wait for its state before it serves.
func (c *cluster) start(program string, text []byte, env ...string) *pod {
	c.t.Helper()
	dir := c.t.TempDir()
	token := c.kubectl("create", "token", "xds-server", "--namespace", namespace)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	own, err := os.ReadFile(c.kubeconfig)
	must(c.t, err)
	must(c.t, os.WriteFile(kubeconfig, []byte(strings.NewReplacer(
		"token: admin", "token: "+strings.TrimSpace(string(token)),
		"user: test}", "user: test, namespace: "+namespace+"}",
	).Replace(string(own))), 0o600))
	c.mounted(program, text, dir)
	p := &pod{t: c.t, log: filepath.Join(dir, "log"), addresses: filepath.Join(dir, "addresses.json")}
	args := append(arguments(c.t, text, dir), "--kubeconfig="+kubeconfig, "--addresses-file="+p.addresses)
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	p.Process, err = exectest.Start(cmd, p.log)
	must(c.t, err)
	c.t.Cleanup(p.Kill)
	return p
}

// serves is where it serves, when it does.
func (p *pod) serves() (at harness.Addresses, err error) {
	written, err := os.ReadFile(p.addresses)
	return at, errors.Join(err, json.Unmarshal(written, &at))
}

// mounted are the files that replicas have of Secrets and a ConfigMap.
func (c *cluster) mounted(program string, text []byte, dir string) {
	c.t.Helper()
	made := filepath.Join(dir, "certs")
	out, err := exec.Command(program, "certs", "--out", made, "--host", "xds-server."+namespace).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	for _, sub := range []string{"tls", "admin", "policy"} {
		must(c.t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	for from, to := range map[string]string{"server.crt": "tls/tls.crt", "server.key": "tls/tls.key", "ca.crt": "tls/ca.crt"} {
		must(c.t, os.Rename(filepath.Join(made, from), filepath.Join(dir, to)))
	}
	must(c.t, os.WriteFile(filepath.Join(dir, "admin", "token"), []byte("a token of some length"), 0o600))
	must(c.t, os.WriteFile(filepath.Join(dir, "policy", "policy.yaml"), []byte(policyText(c.t, text)), 0o600))
}

// arguments are those of the container in a Deployment, for a process of this machine.
func arguments(t *testing.T, text []byte, dir string) []string {
	t.Helper()
	for _, o := range kubetest.Parse(t, text) {
		if o.GetKind() != "Deployment" {
			continue
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		must(t, err)
		args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		must(t, err)
		for i, arg := range args {
			flag, value, _ := strings.Cut(arg, "=")
			switch {
			case strings.HasSuffix(flag, "-listen"):
				_, port, err := net.SplitHostPort(value)
				if err != nil || !exposes(containers[0], port) {
					t.Errorf("%s, and no such port: %v", arg, err)
				}
				args[i] = flag + "=127.0.0.1:0"
			case strings.HasPrefix(value, "/"):
				if !mounts(containers[0], value) {
					t.Errorf("%s, and no volume there", arg)
				}
				args[i] = flag + "=" + dir + value
			case strings.Contains(value, "$(POD_IP)"):
				address, err := exectest.FreeAddress()
				must(t, err)
				args[i] = flag + "=" + address
			}
		}
		return args
	}
	t.Fatal("no Deployment")
	return nil
}

func exposes(container any, port string) bool {
	ports, _ := container.(map[string]any)["ports"].([]any)
	return slices.ContainsFunc(ports, func(p any) bool { return fmt.Sprint(p.(map[string]any)["containerPort"]) == port })
}

func mounts(container any, path string) bool {
	all, _ := container.(map[string]any)["volumeMounts"].([]any)
	return slices.ContainsFunc(all, func(m any) bool {
		at := m.(map[string]any)["mountPath"].(string)
		return path == at || strings.HasPrefix(path, at+"/")
	})
}

// told is all that xds-server says, in its log and status.
func (p *pod) told(ctx context.Context) (string, error) {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return "", err
	}
	at, err := p.serves()
	if err != nil {
		return string(log), nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.Admin+"/api/v1/status", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	status, err := io.ReadAll(response.Body)
	return string(log) + string(status), err
}

// TestRights: xds-server, as its ServiceAccount, makes use of each right that is
// granted to it, and asks for nothing else.
func TestRights(t *testing.T) {
	program := build(t)
	for _, way := range []string{"kustomize single", "kustomize replicas"} {
		t.Run(way, func(t *testing.T) {
			c := newCluster(t, kubetest.StartAudited(t))
			text := ways[way](t)
			c.namespaced()
			c.applied(text)
			secrets := kustomized(t, "secrets")
			c.applied(secrets)
			text = slices.Concat(text, []byte("---\n"), secrets)
			c.applied([]byte(others()))
			c.Apply(objects + "---" + naming)
			grants := slices.Collect(maps.Keys(granted(t, text)))
			// client-go has objects listed by a watch; not so of API servers before 1.34.
			for _, lists := range []bool{false, true} {
				p := c.run(program, text, fmt.Sprintf("KUBE_FEATURE_WatchListClient=%t", !lists))
				c.Apply(forgotten)
				must(t, harness.Poll(t.Context(), time.Minute, func() error {
					c.again()
					used, refused := c.Used(account)
					for r := range refused {
						t.Fatalf("may not %s %s\n%s", r.Verb, r.Resource, p.Tail(20))
					}
					for _, r := range grants {
						// What is made by patch is asked for as create, too; the log has only the former.
						made := kubetest.Right{Verb: "patch", Resource: r.Resource}
						if !used[r] && (lists || r.Verb != "list") && (r.Verb != "create" || !used[made]) {
							return fmt.Errorf("makes no use of the right to %s %s\n%s", r.Verb, r.Resource, p.Tail(20))
						}
					}
					return nil
				}))
				must(t, p.Stop(30*time.Second))
			}
			used, _ := c.Used(account)
			for r := range used {
				if !slices.Contains(grants, r) {
					t.Errorf("may %s %s, which the manifests don't grant", r.Verb, r.Resource)
				}
			}
		})
	}
}

// TestRightsTakenAway: without any of its rights xds-server says which it needs.
func TestRightsTakenAway(t *testing.T) {
	program := build(t)
	done := map[kubetest.Right]bool{}
	for _, way := range []string{"kustomize single", "kustomize replicas"} {
		t.Run(way, func(t *testing.T) { rightsTakenAway(t, program, ways[way](t), done) })
	}
}

// rightsTakenAway takes each right away that is not done.
func rightsTakenAway(t *testing.T, program string, text []byte, done map[kubetest.Right]bool) {
	t.Helper()
	c := newCluster(t, kubetest.Start(t))
	c.namespaced()
	c.applied(text)
	c.applied([]byte(others()))
	for right, role := range granted(t, text) {
		if done[right] {
			continue
		}
		done[right] = true
		c.applied(without(role, right))
		c.Delete(objects) // what is told of them is written anew
		c.Apply(objects + "---\n" + forgotten)
		c.kubectl("delete", "lease", "--all", "--namespace", namespace) // else none is made
		// What it does not do where objects are listed by a watch is asked for otherwise.
		p := c.start(program, text, fmt.Sprintf("KUBE_FEATURE_WatchListClient=%t", right.Verb != "list"))
		resource, sub, _ := strings.Cut(right.Resource, "/")
		name, _, _ := strings.Cut(resource, ".")
		if sub != "" {
			name += "/" + sub
		}
		want := fmt.Sprintf("cannot %s resource \"%s\"", right.Verb, name)
		if err := harness.Poll(t.Context(), time.Minute, func() error {
			c.again()
			told, err := p.told(t.Context())
			if err == nil && !strings.Contains(strings.ReplaceAll(told, `\"`, `"`), want) {
				err = errors.New("nothing tells of it")
			}
			return err
		}); err != nil {
			t.Errorf("without the right to %s %s: %v\n%s", right.Verb, right.Resource, err, p.Tail(10))
		}
		if err := p.Running(); err != nil {
			t.Errorf("without the right to %s %s: %v", right.Verb, right.Resource, err)
		}
		must(t, p.Stop(30*time.Second)) // so that the next leads at once
		whole, err := json.Marshal(role.Object)
		must(t, err)
		c.applied(whole)
	}
}

func build(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	must(t, err)
	program, err := harness.BuildServer(t.Context(), root, t.TempDir())
	must(t, err)
	return program
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
