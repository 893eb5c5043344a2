package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/pipeline"
	"wasmxds/replica"
	"wasmxds/state"
)

const peersHelp = `Replicas: any number of xds-servers can share one state. Each of them serves Envoys,
and one of them, the leader, moves changes from wave to wave. The others report to it
what their Envoys say, at --peer-listen. They authenticate each other by TLS with keys
that each server creates at startup and stores in the state, so anybody who can write
the state is trusted, and nobody else. Give --peer-listen an address that the other
machines can reach, and set --peer-address if they reach it at a different one.
Replicas also share modules, and move Envoys whose bootstrap names several replicas
to the least loaded one. While a replica is alive but the leader cannot hear it, no
wave begins; "xds-server status" reports this.`

// peerFlags say how other xds-servers of the state reach this one.
type peerFlags struct{ listen, address string }

func (f *peerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "peer-listen", "127.0.0.1:18002", "`address` for the other xds-servers that share the state; unused with --state local")
	cmd.Flags().StringVar(&f.address, "peer-address", "", "`address` at which the others reach --peer-listen (default --peer-listen)")
}

func (f *peerFlags) check() error {
	if f.address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(f.address)
	if err != nil || host == "" || port == "" || port == "0" {
		return fmt.Errorf("--peer-address %s: must be host:port, at which other xds-servers reach this one", f.address)
	}
	return nil
}

// reached is where others reach a listener.
func (f *peerFlags) reached(l net.Listener) (string, error) {
	if f.address != "" {
		return f.address, nil
	}
	if at := l.Addr().(*net.TCPAddr); at.IP.IsUnspecified() {
		return "", fmt.Errorf("--peer-address is required with --peer-listen %s: the address at which other xds-servers reach it", f.listen)
	}
	return l.Addr().String(), nil
}

// idKey is where the id of this xds-server is, in its own state.
const idKey = "replica/id"

// replicas are the other xds-servers of the state; nil: it is local.
func (d *dataDir) replicas(ctx context.Context, address string, log *slog.Logger) (*pipeline.Replicas, error) {
	if d.copied == nil {
		return nil, nil
	}
	id, err := d.id(ctx)
	if err != nil {
		return nil, err
	}
	d.elsewhere.Own(id) // the data directory is held by this process alone
	key, err := replica.NewKey()
	if err != nil {
		return nil, err
	}
	registry := replica.NewRegistry(d.elsewhere, replica.Member{ID: id, Address: address, Key: key.Hash()}, log)
	return &pipeline.Replicas{
		Peers:  replica.NewPeers(registry, key, log),
		Shared: d.elsewhere, Copy: d.copied, In: d.copied.In, GiveUp: func() { d.copied.GiveUp("rollout/") },
	}, nil
}

// id is this xds-server's, the same after a restart.
func (d *dataDir) id(ctx context.Context) (string, error) {
	e, err := d.store.Get(ctx, idKey)
	if err == nil {
		return string(e.Value), nil
	}
	if !errors.Is(err, state.ErrNotFound) {
		return "", fmt.Errorf("read the id of this xds-server: %w", err)
	}
	id := strings.ToLower(rand.Text()[:8])
	if _, err := d.store.Put(ctx, idKey, []byte(id), 0); err != nil {
		return "", fmt.Errorf("keep the id of this xds-server: %w", err)
	}
	return id, nil
}
