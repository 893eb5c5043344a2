package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"wasmxds/e2e/harness"
)

// granted is what xds-server may do: read objects, and write their status.
const granted = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: xds-server}
rules:
- {apiGroups: [wasmxds.dev], resources: [wasmfilters, listeners, rollouts], verbs: [get, list, watch]}
- {apiGroups: [wasmxds.dev], resources: [wasmfilters/status, listeners/status, rollouts/status], verbs: [patch]}
- {apiGroups: [wasmxds.dev], resources: [changes], verbs: [list, create, patch, delete]}
- {apiGroups: [""], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: xds-server}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: xds-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: xds-server}]
`

// TestKubernetesFaults: whatever becomes of the API server, of objects and of what
// xds-server may do there, no request fails or passes without its filter. That the
// server is away when xds-server starts, and that a CRD is deleted, is in TestKubernetes.
func TestKubernetesFaults(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) { newObjects(t).faults(c) })
}

func (k *objects) faults(c combination) {
	line, err := harness.StartProxy(strings.TrimPrefix(k.cluster.Config.Host, "https://"))
	must(k.t, err)
	k.t.Cleanup(func() { must(k.t, line.Close()) })
	k.apply(granted)
	k.apply(k.listener("shop", "web") + k.filter("shop", "auth", "1"))
	k.serve("--kubernetes", "--kubernetes-status", "--root-namespace", "root", "--kubernetes-kinds", "WasmFilter,Listener,Rollout",
		"--kubeconfig", k.cluster.Kubeconfig("xds-server", "https://"+line.Address()))
	e := k.envoy(c, "shop-1", "--node-namespace", "shop")
	l := e.load("shop.web", "x-auth")
	k.seen(l, e.Started, "x-auth", "1")
	k.runs("auth", 1)

	k.killed(l)
	k.tooOld(l, line)
	k.forbidden(l)
	k.held(e, l)
	k.contended(l)
	k.good(l)
}

// runs waits until the status of a filter says of a generation that it runs everywhere.
func (k *objects) runs(name string, generation int64) {
	k.t.Helper()
	k.eventually(func() error {
		o := k.get(name)
		list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, item := range list {
			if c := item.(map[string]any); c["type"] == "Running" && c["status"] == "True" && c["observedGeneration"] == generation {
				return nil
			}
		}
		return fmt.Errorf("generation %d of %s: %v", o.GetGeneration(), name, list)
	})
}

// filters are those of the namespace.
func (k *objects) filters() dynamic.ResourceInterface {
	return k.cluster.Client.Resource(schema.GroupVersionResource{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "wasmfilters"}).Namespace("shop")
}

func (k *objects) get(name string) *unstructured.Unstructured {
	k.t.Helper()
	o, err := k.filters().Get(k.t.Context(), name, metav1.GetOptions{})
	must(k.t, err)
	return o
}

// killed has the API server killed in the middle of a swap, and back.
func (k *objects) killed(l *harness.Load) {
	start := k.apply(k.filter("shop", "auth", "2"))
	k.cluster.Kill()
	time.Sleep(500 * time.Millisecond) // requests without it
	k.cluster.Run()
	k.t.Logf("API server killed, and back → new header: %v", k.seen(l, start, "x-auth", "2"))
	k.runs("auth", 2)
}

// tooOld has xds-server cut off until the API server has forgotten what it has missed.
func (k *objects) tooOld(l *harness.Load, line *harness.Proxy) {
	k.apply(k.filter("shop", "gone", "1"))
	k.seen(l, time.Now(), "x-gone", "1")
	old := k.get("auth").GetResourceVersion()
	line.Down()
	start := k.apply(k.filter("shop", "auth", "3"))
	k.cluster.Delete(k.filter("shop", "gone", "1"))
	k.cluster.Kill() // what it watches by is in its memory
	k.cluster.Run()
	k.eventually(func() error { return k.forgotten(old) })
	line.Up()
	k.t.Logf("watch too old → new header: %v", k.seen(l, start, "x-auth", "3"))
	k.eventually(func() error { return k.without(l, "x-gone", "1") })
	k.runs("auth", 3)
}

// forgotten is nil where a watch from a version is refused.
func (k *objects) forgotten(version string) error {
	ctx, cancel := context.WithTimeout(k.t.Context(), 5*time.Second)
	defer cancel()
	w, err := k.filters().Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Stop()
	e := <-w.ResultChan()
	if e.Type == watch.Error {
		if err := apierrors.FromObject(e.Object); apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return nil
		}
	}
	return fmt.Errorf("a watch from version %s goes on: %s", version, e.Type)
}

// without is nil when no request has had a header for a while.
func (k *objects) without(l *harness.Load, header, value string) error {
	if since := time.Since(l.LastSeen(header, value)); since < 300*time.Millisecond {
		return fmt.Errorf("%s was there %v ago", header, since)
	}
	return nil
}

// forbidden takes the right to read filters, and to write any status, and gives both
// back.
func (k *objects) forbidden(l *harness.Load) {
	k.apply(strings.NewReplacer("[wasmfilters, listeners", "[listeners", "wasmfilters/status, listeners/status, ", "").Replace(granted))
	k.cluster.Kill() // or watches go on for minutes
	k.cluster.Run()
	k.eventually(func() error { return k.complains("may not be read") })
	start := k.apply(k.filter("shop", "auth", "4"))
	k.apply(granted)
	k.t.Logf("permission taken, and back → new header: %v", k.seen(l, start, "x-auth", "4"))
	k.eventually(func() error {
		if k.complains("may not be read") == nil {
			return errors.New("the status still says that filters may not be read")
		}
		return nil
	})
	k.runs("auth", 4)
}

// held deletes a filter that somebody holds by a finalizer.
func (k *objects) held(e *edge, l *harness.Load) {
	k.apply(k.filter("shop", "held", "1"))
	k.seen(l, time.Now(), "x-held", "1")
	finalizers := func(all string) {
		_, err := k.filters().Patch(k.t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+all+`}}`), metav1.PatchOptions{})
		must(k.t, err)
	}
	finalizers(`["example.com/holds"]`)
	must(k.t, k.filters().Delete(k.t.Context(), "held", metav1.DeleteOptions{}))
	start := k.apply(k.filter("shop", "auth", "5"))
	k.seen(l, start, "x-auth", "5")
	k.seen(l, time.Now(), "x-held", "1")
	e.runs("shop.held")
	finalizers(`[]`)
	k.eventually(func() error { return k.without(l, "x-held", "1") })
	k.runs("auth", 5)
}

// contended has others write the status all the while.
func (k *objects) contended(l *harness.Load) {
	ctx, cancel := context.WithTimeout(k.t.Context(), 20*time.Second)
	defer cancel()
	written := 0
	var other sync.WaitGroup
	other.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) { // a bound
			switch err := k.meddle(fmt.Sprint(written)); {
			case err == nil:
				written++
			case !apierrors.IsConflict(err):
				k.t.Error(err)
				return
			}
		}
	})
	start := k.apply(k.filter("shop", "auth", "6"))
	k.seen(l, start, "x-auth", "6")
	time.Sleep(2 * time.Second) // of both
	cancel()
	other.Wait()
	k.t.Logf("others have written the status %d times", written)
	k.runs("auth", 6)
	if reason := k.reason("auth"); reason != "Running" {
		k.t.Errorf("what others have written is there in the end: %s", reason)
	}
}

// meddle writes the status of a filter as if nobody else did.
func (k *objects) meddle(message string) error {
	o, err := k.filters().Get(k.t.Context(), "auth", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedSlice(o.Object, []any{map[string]any{
		"type": "Running", "status": "True", "reason": "Other", "message": message, "lastTransitionTime": "2026-01-02T03:04:05Z",
	}}, "status", "conditions"); err != nil {
		return err
	}
	_, err = k.filters().UpdateStatus(k.t.Context(), o, metav1.UpdateOptions{FieldManager: "other"})
	return err
}

// reason is that of the condition Running.
func (k *objects) reason(name string) any {
	list, _, _ := unstructured.NestedSlice(k.get(name).Object, "status", "conditions")
	for _, item := range list {
		if c := item.(map[string]any); c["type"] == "Running" {
			return c["reason"]
		}
	}
	return nil
}
