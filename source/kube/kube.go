// Package kube finds definitions in the objects of a Kubernetes cluster: those of
// the native kinds, and of others' kinds where their CRDs are there.
//
// Start with [Cluster], a [source.Discoverer]: Run watches it, with client-go's
// reflectors. It promises:
//
//   - An object belongs to the Envoys of its own namespace, and only one of the
//     root namespace may be for all; see [definition.Scope].
//   - A kind that can't be listed (the API server is away, a permission was
//     taken, a CRD was deleted) is unknown, not empty: what was known of it goes
//     on, and it is told.
//   - An object is gone when the API server says so and still serves its kind:
//     to delete a CRD deletes its objects, and is most likely an accident.
//   - Only what people write counts: a change of status, or of metadata other
//     than the name, is none.
//
// CRDs may come and go while it runs.
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

// DefaultRoot is the root namespace where none is given.
const DefaultRoot = "wasmxds-system"

// Cluster is the objects of a cluster. Set Config; all else has a default. It must
// not be changed once Run is called.
type Cluster struct {
	Config     *rest.Config
	Namespaces []string // that are read, besides the root namespace; none: all
	Root       string   // whose objects may be for the Envoys of all namespaces; default DefaultRoot
	Kinds      []string // that are read; none: all that there are, see [Kinds]
	RemoveAll  bool     // a kind whose CRD was deleted has no objects; else they stay
	Log        *slog.Logger

	quiet, max, patience, doubt, grace time.Duration // for tests; see times

	table atomic.Pointer[table] // once it runs
}

// Source is the cluster as a source.
func (c *Cluster) Source() source.Source {
	return source.Source{Name: Name, Object: c.object, Discoverer: c}
}

// object says what is known of a document by its name.
func (c *Cluster) object(name string) (called string, scope definition.Scope) {
	o := parsed(name)
	return o.String(), definition.Scope{Namespace: o.Namespace, Everywhere: o.Namespace == c.root()}
}

func (c *Cluster) root() string { return cmp.Or(c.Root, DefaultRoot) }

// Run sends what objects there are, and again what is other than before, until ctx
// ends; then it returns nil. An error says that the Cluster is not set up right.
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

// namespaces are those that are read; "" is all.
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
