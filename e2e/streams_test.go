package e2e

import (
	"context"
	"log/slog"
	"net"

	"wasmxds/bootstrap"
	"wasmxds/definition"
	"wasmxds/xds"
	streams "wasmxds/xds/transport"
)

// serveStreams serves Envoys by a server in this process until the test ends.
func (f *fleet) serveStreams(s *xds.Server) (address string) {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	g := streams.NewGRPC(nil)
	s.Services().Register(g)
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan error, 2)
	go func() { done <- g.Serve(streams.NewListener(l, 0, slog.New(slog.DiscardHandler))) }()
	go func() { done <- s.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		g.Stop()
		for range 2 {
			must(f.t, <-done)
		}
	})
	return l.Addr().String()
}

// envoyAt starts an Envoy of the server at an address.
func (f *fleet) envoyAt(c combination, id, address string) *edge {
	f.t.Helper()
	config, err := bootstrap.Render(bootstrap.Options{
		Node: definition.Node{ID: id, Cluster: "edge"}, XDSAddress: address, AdminAddress: "127.0.0.1:0", Protocol: bootstrap.Protocol(c.protocol),
	})
	must(f.t, err)
	return f.envoyWith(c, id, config)
}
