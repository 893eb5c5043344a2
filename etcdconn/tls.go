package etcdconn

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"wasmxds/certs"
)

// credential is TLS with the files as they are when a connection begins. While they don't
// match, such as halfway through a renewal, the previous ones are used.
type credential struct {
	files certs.Files
	log   *slog.Logger

	mu   sync.Mutex
	last *tls.Config // last valid configuration
}

func (c *credential) config() (*tls.Config, error) {
	config, err := certs.Client(c.files)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.last = config
	case c.last == nil:
		return nil, err
	default:
		c.log.Warn("certificates for etcd can't be loaded: the previous ones stay in use", "error", err)
	}
	return c.last, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *credential) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake returns an error: there are only clients.
func (c *credential) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, net.ErrClosed
}

// Info implements credentials.TransportCredentials.
func (c *credential) Info() credentials.ProtocolInfo { return credentials.NewTLS(nil).Info() }

// Clone returns c, which has nothing that a caller could change.
func (c *credential) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing: names are those of the endpoints.
func (c *credential) OverrideServerName(string) error { return nil }
