package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"wasmxds/state"
	"wasmxds/state/packed"
)

// Watch implements state.Store. It continues after the API server was unavailable: the log
// of the head has the events that the API server no longer sends, unless they are too old.
func (s *Store) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		w := &watch{store: s, prefix: prefix, told: from, yield: yield}
		err := s.retry().Watch(ctx, func() (bool, error) {
			was := w.told
			err := w.run(ctx)
			return w.told > was, err
		})
		if err != nil {
			yield(state.Event{}, fmt.Errorf("watch %s from revision %d: %w", prefix, from, err))
		}
	}
}

// watch is one call of Watch.
type watch struct {
	store  *Store
	prefix string
	id     string         // of the watched store; "": not known yet
	told   state.Revision // all events up to this revision were yielded
	yield  func(state.Event, error) bool
	over   bool // yield has returned false
}

// run watches until the watch fails or yield returns false.
func (w *watch) run(ctx context.Context) error {
	h, err := w.store.readHead(ctx)
	if err != nil {
		return err
	}
	if err := w.take(h); err != nil || w.over {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := w.store.secrets.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", w.store.name).String(), ResourceVersion: h.version,
	})
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, more := <-events.ResultChan():
			if !more {
				return errors.New("the API server ended the watch")
			}
			if err := w.hear(e); err != nil || w.over {
				return err
			}
		}
	}
}

func (w *watch) hear(e apiwatch.Event) error {
	switch e.Type {
	case apiwatch.Error:
		return fmt.Errorf("API server: %w", apierrors.FromObject(e.Object))
	case apiwatch.Deleted:
		return w.take(&head{})
	}
	o, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("the API server tells of a %T", e.Object)
	}
	h, err := w.store.headOf(o)
	if err != nil {
		return err
	}
	return w.take(h)
}

// take yields what is new in a head. It returns state.ErrCompacted if that is unknown.
func (w *watch) take(h *head) error {
	if !h.exists() && w.told == 0 && w.id == "" {
		return nil // nothing was ever written
	}
	if w.id == "" {
		w.id = h.ID
	}
	if h.ID != w.id || h.Revision < w.told || h.Since > w.told {
		return state.ErrCompacted
	}
	for _, b := range h.log {
		if b.at > w.told && !w.tell(b) {
			w.over = true
			return nil
		}
	}
	w.told = h.Revision
	return nil
}

// tell yields the events of a batch.
func (w *watch) tell(b batch) bool {
	var events []state.Event
	for _, op := range b.ops {
		if strings.HasPrefix(op.Key, w.prefix) {
			events = append(events, w.event(op, b.at))
		}
	}
	for i, e := range events {
		e.More = i < len(events)-1
		if !w.yield(e, nil) {
			return false
		}
	}
	return true
}

func (w *watch) event(op state.Op, at state.Revision) state.Event {
	value, err := packed.Unpack(bytes.Clone(op.Value)) // batches are shared
	if err != nil {
		w.store.log.Error("an entry of the state can't be read and is ignored", "key", op.Key, "error", err)
		op.Remove = true
	}
	if op.Remove {
		value = nil
	}
	return state.Event{Entry: state.Entry{Key: op.Key, Value: value, Revision: at}, Gone: op.Remove}
}
