package kube

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// FollowSecret watches a Secret, named as for PullSecret, until ctx ends. It
// calls tell with the content, or the reason why it isn't known, whenever that
// changes, and never concurrently. It requires list and watch permission for
// this Secret only.
func (c *Cluster) FollowSecret(ctx context.Context, named string, tell func(map[string][]byte, error)) {
	key, err := c.secretKey(named)
	if err != nil {
		tell(nil, err)
		return
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		tell(nil, fmt.Errorf("kubernetes: %w", err))
		return
	}
	s := &secret{key: key, tell: tell}
	f := &follower{
		name: key.String(), client: client.Resource(key.resource()).Namespace(key.namespace),
		selector: "metadata.name=" + key.name, store: store{s}, outcome: s.outcome, log: cmp.Or(c.Log, slog.Default()),
	}
	f.run(ctx)
}

// secret is the state of a Secret that is followed.
type secret struct {
	key  valueKey
	tell func(map[string][]byte, error)

	mu    sync.Mutex
	known bool // data, or why there is none, is known
	data  map[string][]byte
	err   error
	away  error // why the current content is not known
}

// say calls tell with the current state. The Secret must be locked.
func (s *secret) say() {
	switch {
	case s.away != nil:
		s.tell(nil, s.away)
	case s.known:
		s.tell(s.data, s.err)
	}
}

func (s *secret) outcome(o outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var away error
	switch o {
	case answered:
	case denied:
		away = fmt.Errorf("%v may not be read; grant list and watch of it", s.key)
	default:
		away = fmt.Errorf("read %v: %w", s.key, err)
	}
	if fmt.Sprint(away) != fmt.Sprint(s.away) {
		s.away = away
		s.say()
	}
}

func (s *secret) set(data map[string][]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.data, s.err, s.away = true, data, err, nil
	s.say()
}

func (s *secret) put(o *unstructured.Unstructured) error {
	s.set(secretData(s.key, o))
	return nil
}

func (s *secret) delete(string, string) { s.set(nil, fmt.Errorf("%v is not there", s.key)) }

func (s *secret) replace(all []*unstructured.Unstructured) error {
	if len(all) == 0 {
		s.delete("", "")
		return nil
	}
	return s.put(all[0])
}

// secretData returns the content of a Secret.
func secretData(key valueKey, o *unstructured.Unstructured) (map[string][]byte, error) {
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("%v has no data", key)
	}
	all := make(map[string][]byte, len(data))
	for name, text := range data {
		if all[name], err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New(key.String() + ": " + name + " is not base64")
		}
	}
	return all, nil
}
