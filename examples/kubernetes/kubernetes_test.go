package kubernetes_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/source"
	"wasmxds/source/kube"
	"wasmxds/source/kube/kubetest"
)

// resources gives the files of a kustomization, in its order.
func resources(t *testing.T, folder string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o := kubetest.Parse(t, text)[0]
	names, ok := o.Object["resources"].([]any)
	if !ok {
		t.Fatalf("%s lists no resources", folder)
	}
	var files []string
	for _, n := range names {
		path := filepath.Join(folder, n.(string))
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files = append(files, resources(t, path)...)
			continue
		}
		files = append(files, path)
	}
	return files
}

// TestApply: a real API server takes the manifests, and with what they grant
// xds-server reads objects, and no more.
func TestApply(t *testing.T) {
	s := kubetest.Start(t)
	files := resources(t, "objects")
	written, err := filepath.Glob("objects/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		if filepath.Base(file) != "kustomization.yaml" && !slices.Contains(files, file) {
			t.Errorf("%s is in no kustomization", file)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(string(text))
	}
	s.Namespace("shop")
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: a, namespace: shop}, spec: {module: {url: 'https://a/b'}}}")

	account := rest.CopyConfig(s.Config)
	account.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:wasmxds-system:xds-server"}
	up := make(chan source.Batch)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&kube.Cluster{Config: account}).Run(ctx, up) }()
	select {
	case b := <-up:
		if !b.Whole || len(b.Docs) != 1 || b.Docs[0].Key.Name != "shop/WasmFilter/a" {
			t.Errorf("reads %+v", b)
		}
		for _, u := range b.Unknown {
			if !u.Slight { // others' CRDs are not there
				t.Errorf("can't read %v", u.Problem)
			}
		}
	case <-time.After(time.Minute):
		t.Error("reads nothing")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	client, err := dynamic.NewForConfig(account)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: wasmxds-system}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}",
	} {
		o := kubetest.Parse(t, []byte(text))[0]
		if _, err := client.Resource(kubetest.Resource(o)).Namespace(o.GetNamespace()).List(t.Context(), metav1.ListOptions{}); err == nil {
			t.Errorf("xds-server may read any %s", o.GetKind())
		}
	}
}
