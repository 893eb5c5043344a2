package kubetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"wasmxds/definition/crd"
)

// Parse parses the objects in a YAML file.
func Parse(t testing.TB, text []byte) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// CRDs returns the CRDs of the native kinds, for Apply.
func CRDs(t testing.TB) string {
	t.Helper()
	written, err := crd.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// Resource returns the resource of an object's kind.
func Resource(o *unstructured.Unstructured) schema.GroupVersionResource {
	gvk := o.GroupVersionKind()
	plural := strings.ToLower(gvk.Kind) + "s"
	if stem, ok := strings.CutSuffix(strings.ToLower(gvk.Kind), "y"); ok {
		plural = stem + "ies"
	}
	return gvk.GroupVersion().WithResource(plural)
}

// Of returns a client for an object's kind, in its namespace.
func (s *Server) Of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	r := s.Client.Resource(Resource(o))
	if o.GetNamespace() == "" {
		return r
	}
	return r.Namespace(o.GetNamespace())
}

// Apply applies the objects of a file by server-side apply. It waits for kinds
// whose CRD was just applied.
func (s *Server) Apply(text string) {
	s.t.Helper()
	for _, o := range Parse(s.t, []byte(text)) {
		s.eventually("apply "+o.GetKind()+" "+o.GetName(), func(ctx context.Context) error {
			_, err := s.Of(o).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true})
			if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
				s.t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
			}
			return err
		})
	}
}

// Delete deletes objects and returns when they are gone. If another object of
// the same name has been created meanwhile, it counts as gone.
func (s *Server) Delete(text string) {
	s.t.Helper()
	for _, o := range Parse(s.t, []byte(text)) {
		var id *types.UID // of the object to delete; nil: not found so far
		s.eventually("delete "+o.GetName(), func(ctx context.Context) error {
			if id == nil {
				was, err := s.Of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				if err != nil {
					return err
				}
				uid := was.GetUID()
				id = &uid
			}
			err := s.Of(o).Delete(ctx, o.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: id}})
			if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
				return nil
			}
			return errors.Join(err, errors.New("is there still"))
		})
	}
}

// Namespace creates namespaces.
func (s *Server) Namespace(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.Apply("{apiVersion: v1, kind: Namespace, metadata: {name: " + name + "}}")
	}
}

func (s *Server) eventually(what string, try func(context.Context) error) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: %v", what, err)
		}
	}
}

// PluginCRD is a CRD of Istio's WasmPlugin, for Apply. It accepts any content.
const PluginCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: wasmplugins.extensions.istio.io}
spec:
  group: extensions.istio.io
  names: {kind: WasmPlugin, listKind: WasmPluginList, plural: wasmplugins, singular: wasmplugin}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
