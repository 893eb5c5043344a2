package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// follower keeps a part of the table in sync with the API server.
type follower struct {
	name     string // for logs
	client   dynamic.ResourceInterface
	selector string // field selector; "": none
	store    cache.ReflectorStore
	outcome  func(outcome, error)
	begins   func(again context.CancelFunc) // called with a function that starts another list; nil: not called
	log      *slog.Logger
}

// run lists and watches until ctx ends. It resumes a watch that ends, and lists
// again if the resource version is too old. After an error, it waits up to 5 s.
func (f *follower) run(ctx context.Context) {
	r := cache.NewReflectorWithOptions(f, &unstructured.Unstructured{}, f.store, cache.ReflectorOptions{Name: f.name})
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 250*time.Millisecond, 5*time.Second
	for ctx.Err() == nil {
		began := time.Now()
		attempt, again := context.WithCancel(ctx)
		if f.begins != nil {
			f.begins(again)
		}
		err := r.ListAndWatchWithContext(attempt)
		again()
		if time.Since(began) > pause.MaxInterval {
			pause.Reset()
		}
		if err != nil && ctx.Err() == nil {
			f.log.Debug("list and watch objects", "of", f.name, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// ListWithContext implements the reflector's interface, and reports the outcome
// to the table.
func (f *follower) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = f.selector
	list, err := f.client.List(ctx, o)
	f.told(ctx, err)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// WatchWithContext implements the reflector's interface, and reports the
// outcome to the table.
func (f *follower) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = f.selector
	w, err := f.client.Watch(ctx, o)
	f.told(ctx, err)
	return w, err
}

// List is ListWithContext, for callers without a context.
func (f *follower) List(o metav1.ListOptions) (runtime.Object, error) {
	return f.ListWithContext(context.TODO(), o)
}

// Watch is WatchWithContext, for callers without a context.
func (f *follower) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return f.WatchWithContext(context.TODO(), o)
}

func (f *follower) told(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil:
		f.outcome(answered, nil)
	case apierrors.IsNotFound(err):
		f.outcome(absent, err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		f.outcome(denied, err)
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err), apierrors.IsInvalid(err), apierrors.IsMethodNotSupported(err):
		// The reflector lists again, or in another way.
	default:
		f.outcome(failing, err)
	}
}

// keeper receives what a follower finds.
type keeper interface {
	put(*unstructured.Unstructured) error
	delete(namespace, name string)
	replace([]*unstructured.Unstructured) error
}

// store adapts a keeper to the reflector.
type store struct{ keeper }

var errNoObject = errors.New("is no object")

func (s store) Add(v any) error {
	o, ok := v.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("%T: %w", v, errNoObject)
	}
	return s.put(o)
}

func (s store) Update(v any) error { return s.Add(v) }

func (s store) Delete(v any) error {
	o, ok := v.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("%T: %w", v, errNoObject)
	}
	s.delete(o.GetNamespace(), o.GetName())
	return nil
}

func (s store) Replace(list []any, _ string) error {
	var all []*unstructured.Unstructured
	for _, v := range list {
		o, ok := v.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%T: %w", v, errNoObject)
		}
		all = append(all, o)
	}
	return s.replace(all)
}

// Resync does nothing.
func (s store) Resync() error { return nil }
