// Package replicatest runs replicas for tests, as far as they see each other and accept
// requests. Start with [Serve].
package replicatest

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"wasmxds/replica"
	"wasmxds/state"
)

// connections is the limit of concurrent connections from other replicas.
const connections = 16

// Serve runs a replica until the test ends, together with the functions that prepare
// returns. prepare is called before the replica serves others. After stop, nobody can reach
// it.
func Serve(t testing.TB, store state.Store, id string, prepare func(*replica.Peers) []func(context.Context)) (p *replica.Peers, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	key, err := replica.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = replica.NewPeers(replica.NewRegistry(store, replica.Member{ID: id, Address: l.Addr().String(), Key: key.Hash()}, log), key, log)
	ctx, cancel := context.WithCancel(context.Background())
	serving, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, run := range append(prepare(p), p.Registry.Run) {
		running.Go(func() { run(ctx) })
	}
	running.Go(func() {
		if err := p.Serve(serving, l, connections); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return p, stop
}
