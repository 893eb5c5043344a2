package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/credentials"
)

// transport is TLS that tells each stream how to end its connection: gRPC has
// no other way to end a stream from outside.
type transport struct {
	credentials.TransportCredentials
	failed func(peer string, reason error)
}

// Credentials are TLS for a grpc.Server, so that [Admission.Allow] sees who its
// clients are, and [Admission.Reload] can end their connections. failed is told of each
// handshake that fails, but for those of clients that say nothing.
func Credentials(config *tls.Config, failed func(peer string, reason error)) credentials.TransportCredentials {
	return &transport{credentials.NewTLS(config), failed}
}

// connection is what a stream knows of its connection.
type connection struct {
	credentials.TLSInfo
	end func() error
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		t.tell(raw, err)
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("a handshake by %T gave %T", t.TransportCredentials, info)
	}
	return conn, &connection{tlsInfo, raw.Close}, nil
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{t.TransportCredentials.Clone(), t.failed}
}

// tell tells of a handshake. Who connects and says nothing looks whether the
// port is open.
func (t *transport) tell(raw net.Conn, err error) {
	var record tls.RecordHeaderError
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Addr != nil {
		err = op.Err // without the ports, which differ each time
	}
	switch {
	case errors.Is(err, io.EOF):
	case errors.As(err, &record):
		t.failed(raw.RemoteAddr().String(), errors.New("the client does not use TLS: an Envoy needs a bootstrap with --ca"))
	default:
		t.failed(raw.RemoteAddr().String(), err)
	}
}
