package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/keypair"
	"wasmxds/resource"
	"wasmxds/source/kube"
	"wasmxds/state"
)

// keypairStore reads certificates of listeners, below some folders and --tls-root.
func (f *originFlags) keypairStore(ctx context.Context, definitions []string, own *state.Writer, cluster *kube.Cluster, log *slog.Logger) (*keypair.Store, error) {
	roots, err := files.NewRoots(slices.Concat(definitions, f.tlsRoots)...)
	if err != nil {
		return nil, fmt.Errorf("find --tls-root: %w", err)
	}
	o := keypair.Options{Roots: roots, State: own, Log: log}
	if cluster != nil {
		o.Follow = cluster.FollowSecret
	}
	return keypair.New(ctx, o), nil
}

// pairs are what the listeners of a set would be served by, whose definitions are at
// some paths.
func (f *originFlags) pairs(ctx context.Context, set *definition.Set, paths []string) (map[*definition.Listener]*resource.Pair, error) {
	store, err := f.keypairStore(ctx, foldersOf(paths), nil, nil, nil)
	if err != nil {
		return nil, err
	}
	of := map[*definition.Listener]definition.TLS{}
	for _, l := range set.Listeners {
		if l.TLS != nil {
			of[l] = *l.TLS
		}
	}
	return store.Want(of), nil
}
