package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"
)

// transport is TLS that tells each stream how to end its connection: gRPC has
// no other way to end a stream from outside.
type transport struct {
	credentials.TransportCredentials
	log *slog.Logger
}

// Credentials are TLS for a grpc.Server, so that [Admission.Allow] sees who its
// clients are, and [Admission.Reload] can end their connections. Handshakes that
// fail are logged.
func Credentials(config *tls.Config, log *slog.Logger) credentials.TransportCredentials {
	return &transport{credentials.NewTLS(config), log}
}

// connection is what a stream knows of its connection.
type connection struct {
	credentials.TLSInfo
	end func() error
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		t.failed(raw, err)
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("a handshake by %T gave %T", t.TransportCredentials, info)
	}
	return conn, &connection{tlsInfo, raw.Close}, nil
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{t.TransportCredentials.Clone(), t.log}
}

// failed tells of a handshake. Who connects and says nothing looks whether the
// port is open.
func (t *transport) failed(raw net.Conn, err error) {
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF):
		t.log.Debug("a connection was closed before the TLS handshake", "peer", raw.RemoteAddr())
	case errors.As(err, &record):
		t.log.Warn("TLS handshake failed", "peer", raw.RemoteAddr(), "reason", "the client does not use TLS: an Envoy needs a bootstrap with --ca")
	default:
		t.log.Warn("TLS handshake failed", "peer", raw.RemoteAddr(), "reason", err)
	}
}
