package admission

import (
	"crypto/tls"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
)

// transport is TLS that tells each stream how to end its connection: gRPC has
// no other way to end a stream from outside.
type transport struct {
	credentials.TransportCredentials
}

// Credentials are TLS for a grpc.Server, so that [Admission.Allow] sees who its
// clients are, and [Admission.Reload] can end their connections.
func Credentials(config *tls.Config) credentials.TransportCredentials {
	return &transport{credentials.NewTLS(config)}
}

// connection is what a stream knows of its connection.
type connection struct {
	credentials.TLSInfo
	end func() error
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("a handshake by %T gave %T", t.TransportCredentials, info)
	}
	return conn, &connection{tlsInfo, raw.Close}, nil
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{t.TransportCredentials.Clone()}
}
