package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"wasmxds/bounded"
	"wasmxds/rollout/driver"
)

// Peers connects replicas by HTTP over TLS, in which each side authenticates by its key.
type Peers struct {
	Registry *Registry
	key      *Key
	mux      *http.ServeMux
	client   *http.Client
	log      *slog.Logger
}

// Limits of connections.
const (
	idle       = 2 * time.Minute
	idleClient = time.Minute // less than idle, so that the server does not close a connection while it is used
	connectIn  = 5 * time.Second
	// acceptIn is the part of connectIn that a TCP connection may take. It is less than
	// callers wait, so that they learn that nothing answers at an address, as on a machine
	// that was switched off, and do not take its server for one that is slow.
	acceptIn = 3 * time.Second
)

// NewPeers returns the Peers of a replica. The Registry's own Member must have the key's
// hash.
func NewPeers(r *Registry, key *Key, log *slog.Logger) *Peers {
	p := &Peers{Registry: r, key: key, mux: http.NewServeMux(), log: log}
	p.client = &http.Client{Transport: &http.Transport{
		DialTLSContext: p.dial, IdleConnTimeout: idleClient, MaxIdleConnsPerHost: 8, DisableCompression: true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p
}

// Handle registers a handler for requests of other replicas; call it before Serve. The
// pattern is one of http.ServeMux, with a method, such as "GET /peer/v1/modules/{sha256}".
// [From] returns the sender.
func (p *Peers) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// Serve serves other replicas until ctx ends, on at most that many concurrent connections:
// a few per replica, and those that have not completed the handshake. Only replicas
// complete it.
func (p *Peers) Serve(ctx context.Context, l net.Listener, connections int) error {
	defer p.client.CloseIdleConnections()
	return bounded.Serve(ctx, tls.NewListener(l, p.key.tls(p.known)), http.HandlerFunc(p.serve),
		bounded.Options{Connections: connections, Idle: idle, Log: p.log})
}

// known returns nil if a key belongs to a replica.
func (p *Peers) known(key string) error {
	if _, is := p.Registry.of(key); is {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	err := p.Registry.lookAgain(ctx)
	if _, is := p.Registry.of(key); is { // which may have been seen by another look
		return nil
	}
	if err != nil {
		return fmt.Errorf("identify the replica that connects: %w", err)
	}
	return errors.New("it is not a replica of this state")
}

type fromKey struct{}

// From returns the replica that sent the request.
func From(ctx context.Context) Member {
	m, _ := ctx.Value(fromKey{}).(Member)
	return m
}

// serve serves a request, if the sender is still one of the replicas.
func (p *Peers) serve(w http.ResponseWriter, r *http.Request) {
	key, err := shown(*r.TLS)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	from, is := p.Registry.of(key)
	if !is {
		w.Header().Set("Connection", "close")
		http.Error(w, "this is for servers of the same state", http.StatusUnauthorized)
		return
	}
	p.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fromKey{}, from)))
}

// dial connects to the replica whose key is the host of an address. A pooled connection to
// a replica that used to be at some network address is therefore never used for its
// successor there.
func (p *Peers) dial(ctx context.Context, _, address string) (net.Conn, error) {
	key, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to, is := p.Registry.of(key)
	if !is {
		return nil, unreached{errors.New("it is gone"), true}
	}
	ctx, cancel := context.WithTimeout(ctx, connectIn)
	defer cancel()
	plain, err := (&net.Dialer{Timeout: acceptIn}).DialContext(ctx, "tcp", to.Address)
	if err != nil {
		return nil, unreached{err, true}
	}
	other := false
	conn := tls.Client(plain, p.key.tls(func(hash string) error {
		if other = hash != key; other {
			return fmt.Errorf("what listens at %s is not replica %s", to.Address, to.ID)
		}
		return nil
	}))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, unreached{err, other}
	}
	return conn, nil
}

// unreached means that a request did not reach a replica.
type unreached struct {
	error
	away bool // nothing accepts connections at its address, or something else does
}

func (e unreached) Unwrap() error { return e.error }
func (e unreached) Is(target error) bool {
	return target == driver.ErrNotLeader || target == driver.ErrAway && e.away
}
