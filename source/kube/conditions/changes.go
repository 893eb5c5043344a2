package conditions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// Changes maintains an object of kind Change for each change: how far it is,
// and why it is no further. Client, Namespace and Told are required; all other
// fields have defaults.
type Changes struct {
	Client    dynamic.Interface
	Namespace string                                        // of the objects
	Told      func(context.Context) (rollout.Status, error) // returns how far changes are
	Leads     func() bool                                   // reports whether this process writes; nil: it does
	Every     time.Duration                                 // interval between updates, and minimum interval between two writes of an object; default 1 s
	Log       *slog.Logger

	there  map[string]written // what the API server has; nil: not known
	listed time.Time
}

// written is the stored content of an object.
type written struct {
	status map[string]any
	at     time.Time
}

const (
	// mostPauses is the maximum pause after an error, in multiples of Every.
	mostPauses = 60
	// listAgain is the interval at which the objects are listed, to find
	// changes by others.
	listAgain = time.Minute
	// sameFor is how long an object stays unchanged if only its message has
	// changed, which may contain seconds.
	sameFor = 10 * time.Second
	// managedBy is the label of the objects, whose value is component.
	managedBy = "app.kubernetes.io/managed-by"
)

var changeResource = schema.GroupVersionResource{Group: definition.Group, Version: definition.Version, Resource: "changes"}

// Run writes objects until ctx ends.
func (w *Changes) Run(ctx context.Context) {
	log := cmp.Or(w.Log, slog.Default())
	every := cmp.Or(w.Every, time.Second)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = every, mostPauses*every
	wait := every
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := w.look(ctx)
		if err == nil || ctx.Err() != nil {
			pause.Reset()
			wait, said = every, ""
			continue
		}
		wait = pause.NextBackOff()
		why := w.absent(err)
		if why == "" {
			log.Warn("can't write Change objects", "error", err, "again in", wait.Round(time.Millisecond))
		} else if why != said {
			log.Warn("Change objects are not written: " + why)
		}
		said = why
	}
}

// absent returns which prerequisite is missing, or "" for any other error.
func (w *Changes) absent(err error) string {
	status, is := errors.AsType[*apierrors.StatusError](err)
	switch {
	case !is || !apierrors.IsNotFound(err):
		return ""
	case status.ErrStatus.Details != nil && status.ErrStatus.Details.Kind == "namespaces":
		return fmt.Sprintf("the namespace %s is not there; create it, or name another with --root-namespace", w.Namespace)
	}
	return "the CRD of Change is not there; xds-server crds has it"
}

// look writes what differs from the API server's content, and deletes the
// objects of forgotten changes.
func (w *Changes) look(ctx context.Context) error {
	if w.Leads != nil && !w.Leads() {
		w.there = nil
		return nil
	}
	told, err := w.Told(ctx)
	if err != nil {
		return err
	}
	if w.there == nil || time.Since(w.listed) > listAgain {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	for _, c := range told.Changes { // of several with one name, the newest comes first
		name := changeName(c.ID)
		if known[name] {
			continue
		}
		known[name] = true
		if err := w.tell(ctx, name, changeStatus(&c)); err != nil {
			return err
		}
	}
	for name := range maps.Clone(w.there) {
		if !known[name] {
			if err := w.forget(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Changes) objects() dynamic.ResourceInterface {
	return w.Client.Resource(changeResource).Namespace(w.Namespace)
}

func (w *Changes) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	list, err := w.objects().List(ctx, metav1.ListOptions{LabelSelector: managedBy + "=" + component})
	if err != nil {
		return fmt.Errorf("list Changes: %w", err)
	}
	w.there, w.listed = map[string]written{}, time.Now()
	for _, o := range list.Items {
		status, _, _ := unstructured.NestedMap(o.Object, "status")
		w.there[o.GetName()] = written{status: status}
	}
	return nil
}

// tell writes an object if necessary.
func (w *Changes) tell(ctx context.Context, name string, status map[string]any) error {
	was, there := w.there[name]
	if there && (reflect.DeepEqual(was.status, status) || time.Since(was.at) < sameFor && sameButWords(was.status, status)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": definition.APIVersion, "kind": "Change",
		"metadata": map[string]any{"name": name, "namespace": w.Namespace, "labels": map[string]any{managedBy: component}},
		"status":   status,
	}}
	is, err := w.objects().Apply(ctx, name, o, metav1.ApplyOptions{FieldManager: component, Force: true})
	if err != nil {
		w.there = nil // it may have been written
		return fmt.Errorf("write Change %s: %w", name, err)
	}
	w.there[name] = written{status, time.Now()}
	if status["state"] != string(rollout.Stopped) || was.status["state"] == status["state"] {
		return nil
	}
	words, _ := status["message"].(string)
	return event(ctx, w.Client, is, condition{Type: "Change", Status: no, Reason: stopped, Message: words})
}

func (w *Changes) forget(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := w.objects().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Change %s: %w", name, err)
	}
	delete(w.there, name)
	return nil
}

// changeName returns the name of a change's object: the beginning of its id,
// which xds-server rollout accepts.
func changeName(id string) string { return id[:min(len(id), 12)] }

// maxDefinitions bounds the number of definitions that are listed for a change.
const maxDefinitions = 100

// changeStatus returns the status of a change's object, in the form in which
// the API server returns it.
func changeStatus(c *rollout.ChangeStatus) map[string]any {
	s := map[string]any{
		"id": c.ID, "of": shortened(c.Title), "state": string(c.State), "message": shortened(c.Words), "opened": timeText(c.Opened),
		"wave": int64(c.Wave), "waves": int64(len(c.Waves)),
	}
	if c.State.Open() { // otherwise, they are no longer counted
		s["envoys"] = map[string]any{"concerned": int64(c.Concerned), "reached": int64(c.Reached), "running": int64(c.Settled)}
		s["progress"] = fmt.Sprintf("%d of %d", c.Settled, c.Concerned)
	}
	if len(c.Waves) > 0 {
		s["inWave"] = fmt.Sprintf("%d of %d", c.Wave, len(c.Waves))
	}
	if c.Reason != "" {
		s["reason"] = shortened(c.Reason)
	}
	if c.Policy != "" {
		s["policy"] = c.Policy
	}
	if !c.Ended.IsZero() {
		s["ended"] = timeText(c.Ended)
	}
	var definitions []any
	for i, d := range c.Definitions {
		if i == maxDefinitions {
			break
		}
		definitions = append(definitions, map[string]any{"kind": d.Kind, "name": d.Name, "what": d.What})
	}
	if definitions != nil {
		s["definitions"] = definitions
	}
	return s
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// sameButWords reports whether two statuses differ at most in their message.
func sameButWords(a, b map[string]any) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	delete(a, "message")
	delete(b, "message")
	return reflect.DeepEqual(a, b)
}
