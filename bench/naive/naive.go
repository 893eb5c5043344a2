// Package naive is the server that one writes first: go-control-plane's
// SnapshotCache and its server, a snapshot per node, and what changed is
// pushed at once. Scenes and benchmarks are run against it for comparison.
//
// Start with [New]. It is used as its documentation has it, with ADS and both
// protocols, and nothing is done to make it slow or wrong.
package naive

import (
	"context"
	"fmt"
	"net"
	"strconv"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

// Server is an ADS server for nodes told apart by their ids. Safe for
// concurrent use.
type Server struct {
	cache   cachev3.SnapshotCache
	options []grpc.ServerOption
}

// New returns a server that knows no node yet.
func New(options ...grpc.ServerOption) *Server {
	return &Server{cache: cachev3.NewSnapshotCache(true, cachev3.IDHash{}, nil), options: options}
}

// Serve answers on l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(s.options...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, serverv3.NewServer(ctx, s.cache, nil))
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	return g.Serve(l)
}

// Resources are what a node is to have, by type URL.
type Resources map[resourcev3.Type][]types.Resource

// Set pushes resources to a node, as its next version.
func (s *Server) Set(ctx context.Context, node string, version int, r Resources) error {
	snapshot, err := cachev3.NewSnapshot(strconv.Itoa(version), r)
	if err != nil {
		return fmt.Errorf("make a snapshot for node %q: %w", node, err)
	}
	return s.cache.SetSnapshot(ctx, node, snapshot)
}
