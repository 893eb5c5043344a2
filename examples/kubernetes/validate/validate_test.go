// Package validate checks the manifests beside it, and the Helm chart, against the
// Kubernetes API's own types, without a cluster: what in them refers to what.
package validate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifests are sets of them, each applied together.
var manifests = map[string]func(*testing.T) []byte{
	"directory": func(t *testing.T) []byte {
		t.Helper()
		files, err := filepath.Glob("../*.yaml")
		must(t, err)
		var all [][]byte
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			all = append(all, text)
		}
		return bytes.Join(all, []byte("\n---\n"))
	},
	"single and shop": func(t *testing.T) []byte {
		t.Helper()
		return slices.Concat(run(t, "kubectl", "kustomize", "../single"), []byte("\n---\n"), run(t, "kubectl", "kustomize", "../shop"))
	},
	"replicas": func(t *testing.T) []byte {
		t.Helper()
		return run(t, "kubectl", "kustomize", "../replicas")
	},
	"chart": func(t *testing.T) []byte {
		t.Helper()
		return run(t, "helm", "template", "mine", "../../../charts/wasmxds", "--namespace", "else", "--values", "../../../charts/wasmxds/ci/namespaces-values.yaml")
	},
	"chart with replicas": func(t *testing.T) []byte {
		t.Helper()
		return run(t, "helm", "template", "mine", "../../../charts/wasmxds", "--namespace", "else", "--values", "../../../charts/wasmxds/ci/replicas-values.yaml")
	},
}

// run runs a tool, which a variable names or make built into .tools.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path := os.Getenv(strings.ToUpper(name))
	if built, _ := filepath.Glob("../../../.tools/" + name + "-*/" + name); path == "" && len(built) > 0 {
		path = built[len(built)-1]
	}
	if path == "" {
		t.Fatalf("no %[1]s here: run `make %[1]s`", name)
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.Bytes())
	}
	return out
}

// load decodes all manifests but CRDs and their objects, which an API server is to
// judge; unknown and repeated fields are errors.
func load(t *testing.T, text []byte) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
	} {
		must(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		var is metav1.TypeMeta
		must(t, yaml.Unmarshal(document, &is))
		if group := is.GroupVersionKind().Group; is.Kind == "" || group == "apiextensions.k8s.io" || group == "wasmxds.dev" {
			continue
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		t.Fatal("no manifests")
	}
	return objects
}

// TestReferences: selectors find their pods, ports their containers' ports,
// volumes their ConfigMaps and claims, mounts their volumes, and bindings their roles
// and accounts.
func TestReferences(t *testing.T) {
	for name, of := range manifests {
		t.Run(name, func(t *testing.T) { references(t, load(t, of(t))) })
	}
}

// envoys are pods that the NetworkPolicies let in, where none is in the set.
var envoys = corev1.PodTemplateSpec{
	ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"wasmxds.dev/envoy": "true"}},
	Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "envoy"}}},
}

func references(t *testing.T, objects []runtime.Object) {
	var pods []corev1.PodTemplateSpec
	there := map[string]bool{}
	for _, object := range objects {
		o := object.(metav1.Object)
		there[fmt.Sprintf("%T %s/%s", object, o.GetNamespace(), o.GetName())] = true
		if d, ok := object.(*appsv1.Deployment); ok {
			pods = append(pods, d.Spec.Template)
			if !selects(t, d.Spec.Selector, d.Spec.Template) {
				t.Errorf("Deployment %s does not select its own pods", d.Name)
			}
			for _, err := range within(d.Spec.Template.Spec) {
				t.Errorf("Deployment %s: %v", d.Name, err)
			}
		}
	}
	need := func(who string, like runtime.Object, namespace, name string) {
		t.Helper()
		if !there[fmt.Sprintf("%T %s/%s", like, namespace, name)] {
			t.Errorf("%s: there is no %T %s/%s", who, like, namespace, name)
		}
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.Service:
			for _, port := range o.Spec.Ports {
				want(t, pods, "Service "+o.Name, &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, port.TargetPort.StrVal)
			}
		case *networkingv1.NetworkPolicy:
			for _, rule := range o.Spec.Ingress {
				for _, port := range rule.Ports {
					want(t, pods, "NetworkPolicy "+o.Name, &o.Spec.PodSelector, port.Port.StrVal)
				}
				for _, from := range rule.From {
					if from.PodSelector != nil {
						want(t, append(pods, envoys), "NetworkPolicy "+o.Name, from.PodSelector, "")
					}
				}
			}
		case *policyv1.PodDisruptionBudget:
			want(t, pods, "PodDisruptionBudget "+o.Name, o.Spec.Selector, "")
		case *rbacv1.ClusterRoleBinding:
			need(o.Name, &rbacv1.ClusterRole{}, "", o.RoleRef.Name)
			for _, s := range o.Subjects {
				need(o.Name, &corev1.ServiceAccount{}, s.Namespace, s.Name)
			}
		case *rbacv1.RoleBinding:
			need(o.Name, &rbacv1.Role{}, o.Namespace, o.RoleRef.Name)
			for _, s := range o.Subjects {
				need(o.Name, &corev1.ServiceAccount{}, s.Namespace, s.Name)
			}
		case *appsv1.Deployment:
			spec := o.Spec.Template.Spec
			if spec.ServiceAccountName != "" {
				need(o.Name, &corev1.ServiceAccount{}, o.Namespace, spec.ServiceAccountName)
			}
			for _, v := range spec.Volumes {
				if v.ConfigMap != nil {
					need(o.Name, &corev1.ConfigMap{}, o.Namespace, v.ConfigMap.Name)
				}
				if v.PersistentVolumeClaim != nil {
					need(o.Name, &corev1.PersistentVolumeClaim{}, o.Namespace, v.PersistentVolumeClaim.ClaimName)
				}
			}
		case *corev1.ConfigMap, *corev1.Namespace, *corev1.ServiceAccount, *corev1.PersistentVolumeClaim, *rbacv1.Role, *rbacv1.ClusterRole:
		default:
			t.Errorf("%T is not looked at here", o)
		}
	}
}

// within checks what a pod says of itself.
func within(pod corev1.PodSpec) (errs []error) {
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range pod.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				errs = append(errs, fmt.Errorf("container %s: there is no volume %s", c.Name, m.Name))
			}
		}
		for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if p == nil {
				continue
			}
			var port string
			if p.HTTPGet != nil {
				port = p.HTTPGet.Port.StrVal
			} else {
				port = p.TCPSocket.Port.StrVal
			}
			if !listens(c, port) {
				errs = append(errs, fmt.Errorf("container %s: a probe asks port %q", c.Name, port))
			}
		}
	}
	return errs
}

// want fails unless a pod is selected that has the port, if one is named.
func want(t *testing.T, pods []corev1.PodTemplateSpec, who string, selector *metav1.LabelSelector, port string) {
	t.Helper()
	for _, pod := range pods {
		if !selects(t, selector, pod) {
			continue
		}
		for _, c := range pod.Spec.Containers {
			if port == "" || listens(c, port) {
				return
			}
		}
	}
	t.Errorf("%s selects no pod with port %q", who, port)
}

func selects(t *testing.T, selector *metav1.LabelSelector, pod corev1.PodTemplateSpec) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	must(t, err)
	return s.Matches(labels.Set(pod.Labels))
}

func listens(c corev1.Container, port string) bool {
	for _, p := range c.Ports {
		if p.Name == port {
			return true
		}
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
