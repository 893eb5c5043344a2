// Package validate checks the manifests beside it against the Kubernetes API's
// own types, without a cluster.
package validate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// load decodes all manifests; unknown and repeated fields are errors.
func load(t *testing.T) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		must(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	files, err := filepath.Glob("../*.yaml")
	must(t, err)
	var objects []runtime.Object
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			object, _, err := decoder.Decode(document, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, object)
		}
	}
	if len(objects) == 0 {
		t.Fatal("no manifests")
	}
	return objects
}

// TestReferences: selectors find their pods, ports their containers' ports,
// volumes their ConfigMaps, and mounts their volumes.
func TestReferences(t *testing.T) {
	objects := load(t)
	var pods []corev1.PodTemplateSpec
	configs := map[string]bool{}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			pods = append(pods, o.Spec.Template)
			if !selects(t, o.Spec.Selector, o.Spec.Template) {
				t.Errorf("Deployment %s does not select its own pods", o.Name)
			}
		case *corev1.ConfigMap:
			configs[o.Name] = true
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
					want(t, pods, "NetworkPolicy "+o.Name, from.PodSelector, "")
				}
			}
		case *policyv1.PodDisruptionBudget:
			want(t, pods, "PodDisruptionBudget "+o.Name, o.Spec.Selector, "")
		case *appsv1.Deployment, *corev1.ConfigMap:
		default:
			t.Errorf("%T is not looked at here", o)
		}
	}
	for _, pod := range pods {
		for _, err := range within(pod.Spec, configs) {
			t.Error(err)
		}
	}
}

// within checks what a pod says of itself.
func within(pod corev1.PodSpec, configs map[string]bool) (errs []error) {
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && !configs[v.ConfigMap.Name] {
			errs = append(errs, fmt.Errorf("volume %s: there is no ConfigMap %s", v.Name, v.ConfigMap.Name))
		}
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
