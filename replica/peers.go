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

// Peers is how servers speak to each other: HTTP by TLS, where each side shows its key.
type Peers struct {
	Registry *Registry
	key      *Key
	mux      *http.ServeMux
	client   *http.Client
	log      *slog.Logger
}

// What bounds connections.
const (
	idle       = 2 * time.Minute
	idleClient = time.Minute     // less than idle, so that none is closed as it is used
	knownIn    = 3 * time.Second // that it may take to find out who asks
	connectIn  = 5 * time.Second
)

// NewPeers makes the Peers of a server; the Registry's own member has the key's hash.
func NewPeers(r *Registry, key *Key, log *slog.Logger) *Peers {
	p := &Peers{Registry: r, key: key, mux: http.NewServeMux(), log: log}
	p.client = &http.Client{Transport: &http.Transport{
		DialTLSContext: p.dial, IdleConnTimeout: idleClient, MaxIdleConnsPerHost: 8, DisableCompression: true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p
}

// Handle has requests of other servers handled; it is for before Serve. The pattern is
// one of http.ServeMux, with a method: "GET /peer/v1/modules/{sha256}". [From] tells
// who asks.
func (p *Peers) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// Serve serves other servers until ctx ends, with so many connections at once: a few of
// each, and those of whom it is not known yet who they are. Nobody else gets beyond the
// handshake.
func (p *Peers) Serve(ctx context.Context, l net.Listener, connections int) error {
	defer p.client.CloseIdleConnections()
	return bounded.Serve(ctx, tls.NewListener(l, p.key.tls(p.known)), http.HandlerFunc(p.serve),
		bounded.Options{Connections: connections, Idle: idle, Log: p.log})
}

// known says whether who shows a key is one of the servers.
func (p *Peers) known(key string) error {
	if _, is := p.Registry.of(key); is {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), knownIn)
	defer cancel()
	if err := p.Registry.lookAgain(ctx); err != nil {
		return fmt.Errorf("find out who asks: %w", err)
	}
	if _, is := p.Registry.of(key); !is {
		return errors.New("it is none of the servers of this state")
	}
	return nil
}

type fromKey struct{}

// From is who asks.
func From(ctx context.Context) Member {
	m, _ := ctx.Value(fromKey{}).(Member)
	return m
}

// serve serves a request of a server that is still one of them.
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

// dial connects to the server whose key is the host of an address: so no connection
// to a server that was at an address before is taken for one to who is there now.
func (p *Peers) dial(ctx context.Context, _, address string) (net.Conn, error) {
	key, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to, is := p.Registry.of(key)
	if !is {
		return nil, unreached{errors.New("it is not there any more")}
	}
	ctx, cancel := context.WithTimeout(ctx, connectIn)
	defer cancel()
	d := tls.Dialer{Config: p.key.tls(func(hash string) error {
		if hash != key {
			return fmt.Errorf("at %s is another than %s", to.Address, to.ID)
		}
		return nil
	})}
	conn, err := d.DialContext(ctx, "tcp", to.Address)
	if err != nil {
		return nil, unreached{err}
	}
	return conn, nil
}

// unreached: a server was not told what it was to be told.
type unreached struct{ error }

func (e unreached) Unwrap() error        { return e.error }
func (e unreached) Is(target error) bool { return target == driver.ErrNotLeader }
