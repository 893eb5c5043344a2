package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"wasmxds/source"
	"wasmxds/source/dir"
	"wasmxds/source/etcd"
	"wasmxds/source/kube"
	"wasmxds/source/kube/conditions"
)

var errNoSource = errors.New("one of --definitions, --etcd and --kubernetes is required: the source of definitions")

// sources are where serve has definitions from.
type sources struct {
	all        []source.Source
	places     []string            // for people
	directory  *dir.Directory      // nil: none is one
	conditions *conditions.Writer  // tells in objects what became of them; nil: nobody does
	changes    *conditions.Changes // tells how far changes are, where there is the former
}

// directory is the one with definitions, also as the folders that their modules
// may be in; "" and none: they are elsewhere.
func (f *serveFlags) directory() (definitions string, folders []string, err error) {
	if f.definitions == "" {
		return "", nil, nil
	}
	if definitions, err = filepath.Abs(f.definitions); err != nil {
		return "", nil, fmt.Errorf("find --definitions: %w", err)
	}
	return definitions, []string{definitions}, nil
}

// sources makes those that the flags name; definitions is as directory gave it.
func (f *serveFlags) sources(definitions string, cluster *kube.Cluster, log *slog.Logger) (sources, error) {
	var s sources
	if definitions != "" {
		s.directory = &dir.Directory{Path: definitions, Roots: f.origins.roots, Log: log}
		s.all = append(s.all, source.Source{Name: source.Dir, Base: definitions, Discoverer: s.directory})
		s.places = append(s.places, definitions)
	}
	if f.etcd.used() {
		s.all = append(s.all, source.Source{Name: etcd.Name, Discoverer: f.etcd.source(log)})
		s.places = append(s.places, f.etcd.endpoints...)
	}
	if cluster == nil {
		return s, nil
	}
	s.all = append(s.all, cluster.Source())
	s.places = append(s.places, cluster.Config.Host)
	var err error
	s.conditions, s.changes, err = f.kubernetes.writers(cluster, log)
	return s, err
}

// objects tells whoever writes of objects what became of them; nil: nobody does.
func (s sources) objects() func(map[source.Key]source.Object) {
	if s.conditions == nil {
		return nil
	}
	return s.conditions.Taken
}

// rescan has all be read again that may be other than it looks. What comes by a
// watch can't.
func (s sources) rescan(ctx context.Context) error {
	if s.directory == nil {
		return nil
	}
	return s.directory.Rescan(ctx)
}
