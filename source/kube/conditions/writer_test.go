package conditions_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"wasmxds/admin"
	"wasmxds/module"
	"wasmxds/source"
	"wasmxds/source/kube"
	"wasmxds/source/kube/conditions"
	"wasmxds/source/kube/kubetest"
	"wasmxds/xds"
)

// told waits for a condition of an object, and returns the object.
func told(t *testing.T, s *kubetest.Server, text, want string) *unstructured.Unstructured {
	t.Helper()
	o := kubetest.Parse(t, []byte(text))[0]
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		is, err := s.Of(o).Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		list, _, _ := unstructured.NestedSlice(is.Object, "status", "conditions")
		for _, item := range list {
			c := item.(map[string]any)
			all = append(all, fmt.Sprintf("%s=%s %s: %s (%d)", c["type"], c["status"], c["reason"], c["message"], c["observedGeneration"]))
		}
		got := strings.Join(all, "; ")
		if got == want {
			return is
		}
		if time.Now().After(end) {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// TestWriter checks the conditions of objects on a real API server, which are
// only written when they change.
func TestWriter(t *testing.T) {
	s := kubetest.Start(t)
	s.Apply(kubetest.CRDs(t))
	s.Namespace("shop")
	filter := func(name, url string) string {
		return fmt.Sprintf("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: %s, namespace: shop}, spec: {module: {url: %q}, attach: {nodes: {ids: [%q]}}}}", name, url, "a")
	}
	s.Apply(filter("auth", "https://a/b"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	cluster := &kube.Cluster{Config: s.Config, Log: log}
	var running, looks atomic.Int64
	w := &conditions.Writer{
		Client: s.Client, Objects: cluster.Objects, Log: log, Every: 100 * time.Millisecond,
		Told: func(context.Context) (admin.Status, map[string]string, error) {
			looks.Add(1)
			st := admin.Status{Ready: true, Filters: []admin.Filter{{
				Name: "shop.auth", File: "WasmFilter shop/auth", Generation: 1, SHA256: "2c26b46b68ffc68ff99b", State: module.Good,
				FilterCount: xds.FilterCount{Nodes: 2, Running: int(running.Load()), Pending: 2 - int(running.Load())},
			}}}
			return st, nil, nil
		},
	}
	join := &source.Join{Sources: []source.Source{cluster.Source()}, Log: log, Objects: w.Taken}
	done := make(chan error, 2)
	go func() { done <- join.Run(ctx, func(source.Update) {}) }()
	go func() { w.Run(ctx); done <- nil }()

	const accepted = "Accepted=True Accepted:  (1)"
	told(t, s, filter("auth", ""), accepted+"; Running=False Pending: 0 of 2 Envoys run sha256:2c26b46b68ff (1)")
	running.Store(2)
	is := told(t, s, filter("auth", ""), accepted+"; Running=True Running: 2 of 2 Envoys run sha256:2c26b46b68ff (1)")
	if got, _, _ := unstructured.NestedInt64(is.Object, "status", "observedGeneration"); got != 1 {
		t.Errorf("observedGeneration %d", got)
	}
	for from, end := looks.Load(), time.Now().Add(60*time.Second); looks.Load() < from+20; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not look")
		}
	}
	o := kubetest.Parse(t, []byte(filter("auth", "")))[0]
	again, err := s.Of(o).Get(ctx, "auth", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again.GetResourceVersion() != is.GetResourceVersion() {
		t.Error("it is written again, though nothing changed")
	}

	s.Apply(filter("auth", "https://a/c"))
	told(t, s, filter("auth", ""), "Accepted=True Accepted:  (2); Running=False Pending: 2 of 2 Envoys run sha256:2c26b46b68ff; that of an earlier generation (2)")

	bad := strings.Replace(filter("bad", "https://a/b"), `ids: ["a"]`, `ids: ["a["]`, 1)
	s.Apply(bad)
	told(t, s, bad, `Accepted=False Invalid: spec.attach.nodes.ids[0]: "a[" is not a pattern (1); Running=False NotAccepted: nothing of it was ever good (1)`)
	one := func(of string) {
		t.Helper()
		events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			list, err := s.Client.Resource(events).Namespace("shop").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=" + of + ",involvedObject.name=bad"})
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) == 1 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d Events of a %s", len(list.Items), of)
			}
		}
	}
	one("WasmFilter")

	t.Log("the status of others' kinds is left alone")
	s.Apply(kubetest.PluginCRD)
	plugin := "{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: bad, namespace: shop}, spec: {url: 'ftp://a/b', pluginName: p}, status: {conditions: [{type: Theirs}]}}"
	s.Apply(plugin)
	one("WasmPlugin")
	theirs := kubetest.Parse(t, []byte(plugin))[0]
	if theirs, err = s.Of(theirs).Get(ctx, "bad", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if list, _, _ := unstructured.NestedSlice(theirs.Object, "status", "conditions"); len(list) != 1 {
		t.Errorf("conditions %v", list)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
