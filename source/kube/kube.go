// Package kube discovers definitions in the objects of a Kubernetes cluster:
// objects of the native kinds, and of foreign kinds whose CRDs are installed.
//
// Start with [Cluster], a [source.Discoverer]: Run watches it, with client-go's
// reflectors. It guarantees:
//
//   - An object applies to the Envoys of its own namespace. Only one in the root
//     namespace may apply to all; see [definition.Scope].
//   - A kind that can't be listed (the API server can't be reached, a permission
//     was revoked, a CRD was deleted) is unknown, not empty: its last known
//     objects stay in force, and there is a problem.
//   - An object is gone when the API server says so and still serves its kind:
//     deleting a CRD deletes its objects, and is most likely an accident.
//   - Only what people write is a change: changes of the status, or of metadata
//     other than the name, are not.
//
// CRDs may be installed and deleted at any time.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/definition"
	"wasmxds/source"
)

// Name is the name of the source.
const Name = "kube"

// DefaultRoot is the default root namespace.
const DefaultRoot = "wasmxds-system"

// Cluster is the objects of a cluster. Config is required; all other fields
// have defaults. It must not be changed after Run is called.
type Cluster struct {
	Config     *rest.Config
	Namespaces []string // namespaces to read in addition to the root namespace; empty: all
	Root       string   // root namespace, whose objects may apply to the Envoys of all namespaces; default DefaultRoot
	Kinds      []string // kinds to read; empty: all that are installed, see [Kinds]
	RemoveAll  bool     // a kind whose CRD was deleted has no objects; otherwise they stay
	Log        *slog.Logger

	quiet, max, patience, doubt, grace time.Duration // for tests; see times

	table atomic.Pointer[table] // set by Run
}

// Source returns the cluster as a source.
func (c *Cluster) Source() source.Source {
	return source.Source{Name: Name, Object: c.object, Discoverer: c}
}

// object returns the name for messages and the scope of a document.
func (c *Cluster) object(name string) (called string, scope definition.Scope) {
	o := parsed(name)
	return o.String(), definition.Scope{Namespace: o.Namespace, Everywhere: o.Namespace == c.root()}
}

func (c *Cluster) root() string { return cmp.Or(c.Root, DefaultRoot) }

// Run sends the objects, and then their changes, until ctx ends. Then it
// returns nil. It returns an error if the Cluster is not set up correctly.
func (c *Cluster) Run(ctx context.Context, up chan<- source.Batch) error {
	if c.Config == nil {
		return errors.New("kubernetes: no API server given")
	}
	log := cmp.Or(c.Log, slog.Default())
	kinds, err := chosen(c.Kinds)
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	served, err := newDiscovery(c.Config)
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	t := newTable(c.times(), c.RemoveAll, log)
	c.table.Store(t)
	g, ctx := errgroup.WithContext(ctx)
	for _, k := range kinds {
		for _, namespace := range c.namespaces() {
			p := t.part(k, namespace)
			f := &follower{name: k.name, client: client.Resource(k.resource()).Namespace(namespace), store: store{p}, outcome: p.outcome, begins: p.begins, log: log}
			g.Go(func() error { f.run(ctx); return nil })
		}
	}
	g.Go(func() error { t.confirm(ctx, served.lasts); return nil })
	g.Go(func() error { t.follow(ctx, client); return nil })
	g.Go(func() error { t.run(ctx, up); return nil })
	return g.Wait()
}

// namespaces returns the namespaces to read; "" is all.
func (c *Cluster) namespaces() []string {
	if len(c.Namespaces) == 0 {
		return []string{""}
	}
	all := append(slices.Clone(c.Namespaces), c.root())
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *Cluster) times() times {
	return times{
		quiet:    cmp.Or(c.quiet, 10*time.Millisecond),
		max:      cmp.Or(c.max, 200*time.Millisecond),
		patience: cmp.Or(c.patience, 5*time.Second),
		doubt:    cmp.Or(c.doubt, 300*time.Millisecond),
		grace:    cmp.Or(c.grace, time.Minute),
	}
}
