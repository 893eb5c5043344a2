package conditions

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/source"
	"wasmxds/source/kube"
)

// Writer writes conditions and Events. Client, Objects and Told are required;
// all other fields have defaults.
type Writer struct {
	Client  dynamic.Interface
	Objects func() []kube.Object
	// Told returns the state of the Envoys, and for each filter that failed the
	// message of an Envoy.
	Told  func(context.Context) (admin.Status, map[string]string, error)
	Leads func() bool   // reports whether this process writes; nil: it does
	Every time.Duration // interval between updates, and minimum interval between two writes of an object; default 1 s
	Log   *slog.Logger

	taken atomic.Pointer[map[source.Key]source.Object]
	told  map[source.Key]condition // what Events have reported about objects of foreign kinds
}

// Taken sets what the sources report about objects.
func (w *Writer) Taken(objects map[source.Key]source.Object) { w.taken.Store(&objects) }

// component is the name of xds-server as a Kubernetes component.
const component = "xds-server"

// callTime is the timeout of one request.
const callTime = 10 * time.Second

// perLook bounds the number of objects that are written in one update. Others
// wait for the next.
const perLook = 50

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	tick := time.NewTicker(cmp.Or(w.Every, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			cmp.Or(w.Log, slog.Default()).Warn("write the status of objects", "error", err)
		}
	}
}

// look writes what differs from the API server's content. After an error, the
// rest waits for the next update.
func (w *Writer) look(ctx context.Context) error {
	all := w.taken.Load()
	if all == nil || w.Leads != nil && !w.Leads() {
		return nil
	}
	objects := w.Objects()
	if len(objects) == 0 {
		return nil
	}
	status, worst, err := w.Told(ctx)
	if err != nil {
		return err
	}
	f := newFleet(&status, worst)
	maps.DeleteFunc(w.told, func(key source.Key, _ condition) bool { _, ok := (*all)[key]; return !ok })
	written := 0
	for _, o := range objects {
		taken, ok := (*all)[o.Key()]
		if !ok {
			continue
		}
		write := func() error { return w.refused(ctx, o, taken) }
		if o.Native {
			conditions, was := of(o, taken, f), seen(o.Status)
			if conditions == nil || was.are(o.Generation, conditions) {
				continue
			}
			write = func() error { return w.write(ctx, o, conditions, was) }
		} else if w.told[o.Key()] == accepted(taken) {
			continue
		}
		if written++; written > perLook {
			return nil
		}
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) write(ctx context.Context, o kube.Object, all []condition, was status) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	now := time.Now().UTC().Format(time.RFC3339)
	var conditions []any
	for _, c := range all {
		since := now
		if before, ok := was.conditions[c.Type]; ok && before.Status == c.Status && before.since != "" {
			since = before.since
		}
		conditions = append(conditions, map[string]any{
			"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message,
			"observedGeneration": o.Generation, "lastTransitionTime": since,
		})
	}
	told := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": definition.APIVersion, "kind": o.Kind,
		"metadata": map[string]any{"name": o.Name, "namespace": o.Namespace, "uid": string(o.UID)},
		"status":   map[string]any{"observedGeneration": o.Generation, "conditions": conditions},
	}}
	applied, err := w.Client.Resource(o.Resource).Namespace(o.Namespace).
		Apply(ctx, o.Name, told, metav1.ApplyOptions{FieldManager: component, Force: true}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or was replaced; the next update will know
	}
	if err != nil {
		return fmt.Errorf("%v: %w", o, err)
	}
	for _, c := range all {
		if before := was.conditions[c.Type]; c.warns() && (!before.warns() || was.generation != o.Generation) {
			if err := event(ctx, w.Client, applied, c); err != nil {
				return fmt.Errorf("send an Event for %v: %w", o, err)
			}
		}
	}
	return nil
}

// refused reports problems with an object of a foreign kind by an Event. The
// status of such an object is written, as a whole, by the owner of the kind.
func (w *Writer) refused(ctx context.Context, o kube.Object, taken source.Object) error {
	c := accepted(taken)
	if c.warns() {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		about := &unstructured.Unstructured{}
		about.SetGroupVersionKind(o.Resource.GroupVersion().WithKind(o.Kind))
		about.SetNamespace(o.Namespace)
		about.SetName(o.Name)
		about.SetUID(o.UID)
		about.SetGeneration(o.Generation)
		if err := event(ctx, w.Client, about, c); err != nil {
			return fmt.Errorf("send an Event for %v: %w", o, err)
		}
	}
	if w.told == nil {
		w.told = map[source.Key]condition{}
	}
	w.told[o.Key()] = c
	return nil
}

// warns reports whether a condition causes an Event.
func (c condition) warns() bool {
	return c.Type == typeAccepted && c.Status == no || c.Reason == stopped
}

// event creates an Event for a condition of an object, once.
func event(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured, c condition) error {
	now := time.Now().UTC().Format(time.RFC3339)
	e := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata": map[string]any{"name": eventName(o, c), "namespace": o.GetNamespace()},
		"involvedObject": map[string]any{
			"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "namespace": o.GetNamespace(), "name": o.GetName(), "uid": string(o.GetUID()),
		},
		"type": "Warning", "reason": c.Reason, "message": shortened(c.Message), "count": int64(1),
		"firstTimestamp": now, "lastTimestamp": now,
		"source": map[string]any{"component": component}, "reportingComponent": component,
	}}
	_, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(o.GetNamespace()).
		Create(ctx, e, metav1.CreateOptions{FieldManager: component})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// eventName returns the same name for the same condition of an object's
// generation.
func eventName(o *unstructured.Unstructured, c condition) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(o.GetUID(), o.GetGeneration(), c)))
	name := o.GetName()
	return strings.TrimRight(name[:min(len(name), 200)], "-.") + "." + hex.EncodeToString(sum[:8])
}

// maxMessage is the maximum length of an Event's message in bytes.
const maxMessage = 1024

func shortened(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	const more = "…"
	return strings.ToValidUTF8(message[:maxMessage-len(more)], "") + more
}
