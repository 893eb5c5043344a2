package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/credentials"
)

// transport is TLS that passes to each stream a function to close its
// connection: gRPC has no other way to end a stream from outside.
type transport struct {
	credentials.TransportCredentials
	failed func(peer string, reason error)
}

// Credentials returns TLS credentials for a grpc.Server that let
// [Admission.Allow] identify clients, and [Admission.Reload] close their
// connections. It calls failed for each failed handshake, except those of
// clients that send nothing.
func Credentials(config *tls.Config, failed func(peer string, reason error)) credentials.TransportCredentials {
	return &transport{credentials.NewTLS(config), failed}
}

// connection is the connection of a stream, as seen by its handler.
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

// tell reports a failed handshake. A client that connects and sends nothing is
// a port probe, which is not reported.
func (t *transport) tell(raw net.Conn, err error) {
	var record tls.RecordHeaderError
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Addr != nil {
		err = op.Err // without the ports, which always differ
	}
	switch {
	case errors.Is(err, io.EOF):
	case errors.As(err, &record):
		t.failed(raw.RemoteAddr().String(), errors.New("the client does not use TLS: an Envoy needs a bootstrap with --ca"))
	default:
		t.failed(raw.RemoteAddr().String(), err)
	}
}
