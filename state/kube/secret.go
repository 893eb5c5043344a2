package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	leases  = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
)

// callTime is the timeout of one call. An API server may be slow.
const callTime = 10 * time.Second

// shardLabel is the label of shards. Its value is the name of their head.
const shardLabel = "wasmxds.dev/state-shard-of"

var (
	errHeadChanged = errors.New("too many concurrent writes")
	errShardGone   = errors.New("a Secret that holds a part of the state is missing")
)

// call makes an API call with a timeout, and returns its error as people need to read it.
func (s *Store) call(ctx context.Context, do func(context.Context) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	one, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	o, err := do(one)
	switch {
	case err == nil:
		return o, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case one.Err() != nil:
		return nil, fmt.Errorf("the API server did not answer within %v", callTime)
	}
	return nil, fmt.Errorf("API server: %w", err)
}

// secret returns a Secret as the API server expects it.
func (s *Store) secret(name string, data map[string][]byte) *unstructured.Unstructured {
	encoded := map[string]any{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "wasmxds.dev/state",
		"metadata": map[string]any{"name": name, "namespace": s.namespace},
		"data":     encoded,
	}}
}

func dataOf(o *unstructured.Unstructured) (map[string][]byte, error) {
	encoded, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return nil, err
	}
	data := make(map[string][]byte, len(encoded))
	for key, value := range encoded {
		if data[key], err = base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
	}
	return data, nil
}

// known returns the newest known head, or nil.
func (s *Store) known() *head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// learn remembers a head that was read, unless it is older than the last one.
func (s *Store) learn(h *head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.last.ID != h.ID || s.last.Revision < h.Revision {
		s.last = h
	}
}

// readHead reads the current head. If there is none, it returns one without a version.
func (s *Store) readHead(ctx context.Context) (*head, error) {
	o, err := s.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return &head{}, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := s.headOf(o)
	if err == nil {
		s.learn(h)
	}
	return h, err
}

func (s *Store) headOf(o *unstructured.Unstructured) (*head, error) {
	data, err := dataOf(o)
	if err == nil {
		var h *head
		if h, err = readHead(o.GetResourceVersion(), data); err == nil {
			return h, nil
		}
	}
	return nil, fmt.Errorf("read Secret %s/%s: %w", s.namespace, s.name, err)
}

// writeHead replaces the head of n's version by n. It returns errHeadChanged if that is no
// longer the current one.
func (s *Store) writeHead(ctx context.Context, n *head) error {
	data, err := n.data()
	if err != nil {
		return err
	}
	o := s.secret(s.name, data)
	written, err := s.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		if !n.exists() {
			return s.secrets.Create(ctx, o, metav1.CreateOptions{})
		}
		o.SetResourceVersion(n.version)
		return s.secrets.Update(ctx, o, metav1.UpdateOptions{})
	})
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), n.exists() && apierrors.IsNotFound(err):
		return errHeadChanged
	case err != nil:
		return err
	}
	n.version = written.GetResourceVersion()
	s.mu.Lock()
	s.last = n
	s.mu.Unlock()
	return nil
}

// recordsKey is the data key of a shard's Secret.
const recordsKey = "records"

// maxRead is how many shards are cached. A process that reads often then reads only the
// head.
const maxRead = 16

// readShard returns the records of a shard.
func (s *Store) readShard(ctx context.Context, name string) ([]record, error) {
	s.mu.Lock()
	all, ok := s.read[name]
	s.mu.Unlock()
	if ok {
		return all, nil
	}
	all, err := s.getShard(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.read) >= maxRead {
		clear(s.read)
	}
	s.read[name] = all
	return all, nil
}

func (s *Store) getShard(ctx context.Context, name string) ([]record, error) {
	o, err := s.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return s.secrets.Get(ctx, name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s/%s", errShardGone, s.namespace, name)
	}
	if err != nil {
		return nil, err
	}
	data, err := dataOf(o)
	if err == nil {
		var all []record
		if all, err = records(data[recordsKey]); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("read Secret %s/%s: %w", s.namespace, name, err)
}

// writeShard writes a new shard, which no head names yet.
func (s *Store) writeShard(ctx context.Context, all []record) (shard, error) {
	b := appendRecords(nil, all)
	sh := shard{Name: newName(s.name), From: []byte(all[0].key), Bytes: len(b)}
	o := s.secret(sh.Name, map[string][]byte{recordsKey: b})
	o.SetLabels(map[string]string{shardLabel: s.name})
	o.Object["immutable"] = true
	_, err := s.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return s.secrets.Create(ctx, o, metav1.CreateOptions{})
	})
	return sh, err
}

// orphans returns the shards that a head does not name. They may be removed once the next
// head is written: if the process that created one is still alive, its own attempt to write
// a head then fails.
func (s *Store) orphans(ctx context.Context, h *head) []string {
	if s.swept {
		return nil
	}
	named := map[string]bool{}
	for _, sh := range h.Shards {
		named[sh.Name] = true
	}
	var gone []string
	o := metav1.ListOptions{LabelSelector: shardLabel + "=" + s.name, Limit: 20}
	for {
		one, cancel := context.WithTimeout(ctx, callTime)
		page, err := s.secrets.List(one, o)
		cancel()
		if err != nil {
			s.log.Log(ctx, levelOf(err), "what others have left of the state is not looked for", "error", err)
			return nil
		}
		for _, item := range page.Items {
			if !named[item.GetName()] {
				gone = append(gone, item.GetName())
			}
		}
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return gone
		}
	}
}

// remove deletes shards that no head names. orphans finds those that it could not delete.
func (s *Store) remove(ctx context.Context, names []string) {
	for _, name := range names {
		_, err := s.call(context.WithoutCancel(ctx), func(ctx context.Context) (*unstructured.Unstructured, error) {
			return nil, s.secrets.Delete(ctx, name, metav1.DeleteOptions{})
		})
		if err != nil && !apierrors.IsNotFound(err) {
			s.log.Log(ctx, levelOf(err), "a part of the state that is not needed stays", "secret", name, "error", err)
			return
		}
	}
}

// levelOf returns the level at which a failure to remove unused Secrets is logged: without
// permission they stay forever.
func levelOf(err error) slog.Level {
	if apierrors.IsForbidden(err) {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
