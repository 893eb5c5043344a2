package kube

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// leaseTime is how long the Lease of a leader that does not renew it lasts. Each candidate
// measures it by its own clock.
const leaseTime = 10 * time.Second

// lease is a Lease of coordination.k8s.io that this process holds or waits for.
type lease struct {
	store  *Store
	object string
	holder string
	time   time.Duration

	mu      sync.Mutex
	held    *unstructured.Unstructured // as last written
	renewed time.Time                  // when that write began
}

func newLease(s *Store, name string) *lease {
	owner := s.owner
	if owner == "" {
		owner, _ = os.Hostname() // for people
	}
	return &lease{store: s, object: leaseName(s.name, name), holder: owner + "_" + rand.Text(), time: s.lease}
}

var plainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?$`)

// leaseName returns the name of the Lease object.
func leaseName(store, name string) string {
	if !plainName.MatchString(name) {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:8])
	}
	return store + "-" + name
}

// over reports whether others may have taken the Lease.
func (l *lease) over() bool { return !time.Now().Before(l.end()) }

func (l *lease) end() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed.Add(l.time)
}

// between is the interval at which the Lease is renewed, and checked by candidates.
func (l *lease) between() time.Duration { return l.time / 5 }

// take waits until the Lease is free or has expired, and takes it.
func (l *lease) take(ctx context.Context) error {
	var seen string
	var since time.Time
	for {
		o, err := l.store.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return l.store.leases.Get(ctx, l.object, metav1.GetOptions{})
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if o != nil && o.GetResourceVersion() != seen {
			seen, since = o.GetResourceVersion(), time.Now()
		}
		if o == nil || free(o, time.Since(since)) || l.store.left(o) {
			err := l.write(ctx, o, l.holder)
			if err == nil || !errors.Is(err, errTaken) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(l.between()):
		}
	}
}

// free reports whether a Lease that was unchanged for that long has no holder or has
// expired.
func free(o *unstructured.Unstructured, unchanged time.Duration) bool {
	holder, _, _ := unstructured.NestedString(o.Object, "spec", "holderIdentity")
	seconds, ok, _ := unstructured.NestedInt64(o.Object, "spec", "leaseDurationSeconds")
	if !ok {
		seconds = int64(leaseTime / time.Second)
	}
	return holder == "" || unchanged > time.Duration(seconds)*time.Second
}

// left reports whether the previous process, which was killed, holds a Lease.
func (s *Store) left(o *unstructured.Unstructured) bool {
	holder, _, _ := unstructured.NestedString(o.Object, "spec", "holderIdentity")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner != "" && !s.led && strings.HasPrefix(holder, s.owner+"_")
}

var errTaken = errors.New("another replica holds the Lease, or it was deleted")

// write writes the Lease over was, or creates it if was is nil. It returns errTaken if the
// Lease has changed since.
func (l *lease) write(ctx context.Context, was *unstructured.Unstructured, holder string) error {
	now := time.Now()
	text := now.UTC().Format(metav1.RFC3339Micro)
	spec := map[string]any{"holderIdentity": holder, "renewTime": text, "leaseDurationSeconds": int64((l.time + time.Second - 1) / time.Second)}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
		"metadata": map[string]any{"name": l.object, "namespace": l.store.namespace},
	}}
	transitions := int64(0)
	if was != nil {
		o = was.DeepCopy()
		before, _, _ := unstructured.NestedString(o.Object, "spec", "holderIdentity")
		transitions, _, _ = unstructured.NestedInt64(o.Object, "spec", "leaseTransitions")
		if before == l.holder {
			spec["acquireTime"], _, _ = unstructured.NestedString(o.Object, "spec", "acquireTime")
		} else {
			transitions++
		}
	}
	if _, ok := spec["acquireTime"]; !ok {
		spec["acquireTime"] = text
	}
	spec["leaseTransitions"] = transitions
	o.Object["spec"] = spec
	written, err := l.store.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		if was == nil {
			return l.store.leases.Create(ctx, o, metav1.CreateOptions{})
		}
		return l.store.leases.Update(ctx, o, metav1.UpdateOptions{})
	})
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && was != nil:
		return errTaken
	case err != nil:
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.renewed = written, now
	return nil
}

// keep renews the Lease until ctx ends or others may have taken it.
func (l *lease) keep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.between()):
		}
		if l.over() {
			return
		}
		one, cancel := context.WithDeadline(ctx, l.end())
		err := l.renew(one)
		cancel()
		if errors.Is(err, errTaken) {
			return
		}
		if err != nil && ctx.Err() == nil {
			l.store.log.Warn("can't renew the leader's Lease", "lease", l.object, "error", err)
		}
	}
}

func (l *lease) renew(ctx context.Context) error {
	err := l.write(ctx, l.held, l.holder)
	if !errors.Is(err, errTaken) {
		return err
	}
	o, err := l.store.call(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return l.store.leases.Get(ctx, l.object, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return errTaken
	}
	if err != nil {
		return err
	}
	if holder, _, _ := unstructured.NestedString(o.Object, "spec", "holderIdentity"); holder != l.holder {
		return errTaken
	}
	return l.write(ctx, o, l.holder) // an earlier write succeeded and its answer was lost, or somebody has labelled the Lease
}

// giveBack releases the Lease, if it is still held, so that others can take it at once.
func (l *lease) giveBack() {
	if l.over() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.write(ctx, l.held, ""); err != nil {
		l.store.log.Debug("a Lease is not given back; it ends by itself", "lease", l.object, "error", err)
	}
}
