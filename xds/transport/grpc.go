package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// writeBuffer is the size of a write of grpc, in bytes: more than most responses, and
// little if thousands of connections write at once, each with such a buffer.
const writeBuffer = 8 << 10

// NewGRPC returns a grpc.Server for a [Listener], with credentials (nil: plaintext), the
// codec that shares bytes, and limits for the memory of connections and for dead ones.
func NewGRPC(creds credentials.TransportCredentials, opts ...grpc.ServerOption) *grpc.Server {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return grpc.NewServer(append([]grpc.ServerOption{
		grpc.Creds(metered{creds}),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxConcurrentStreams(16),
		grpc.MaxRecvMsgSize(4 << 20),
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(128 << 10),
		grpc.WriteBufferSize(writeBuffer),
		grpc.ReadBufferSize(4 << 10),
		grpc.InTapHandle(tapped),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second, MaxConnectionIdle: 5 * time.Minute}),
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.MaxHeaderListSize(16 << 10),
	}, opts...)...)
}

// metered are credentials whose connections have a meter.
type metered struct {
	credentials.TransportCredentials
}

func (m metered) ServerHandshake(nc net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := m.TransportCredentials.ServerHandshake(nc)
	if err != nil {
		return nil, nil, err
	}
	c := connAt(secure.RemoteAddr())
	switch {
	case c == nil: // not from a Listener
		return secure, info, nil
	case secure == net.Conn(c):
		c.meter = newMeter(c)
		return c, info, nil
	}
	return &meteredConn{secure, newMeter(c)}, info, nil
}

func (m metered) Clone() credentials.TransportCredentials {
	return metered{m.TransportCredentials.Clone()}
}

// meteredConn is the decrypted content of a Conn.
type meteredConn struct {
	net.Conn
	meter *meter
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter.read(b[:n])
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	c.meter.wrote(b)
	return c.Conn.Write(b)
}

func (c *meteredConn) Close() error {
	err := c.Conn.Close()
	c.meter.close()
	return err
}

// checkEncoding rejects an RPC whose client may compress messages. Codecs are registered by
// whatever imports them, and a few bytes expand to megabytes. grpc exposes the encoding
// only to stats handlers, which cost time for each message, and in its stream, whose type
// it does not export.
func checkEncoding(ctx context.Context) error {
	st, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	if !ok {
		return status.Error(codes.Internal, "how messages are compressed is not known")
	}
	if name := st.RecvCompress(); name != "" && name != encoding.Identity {
		return status.Errorf(codes.Unimplemented, "messages are not to be compressed, by %s or otherwise", name)
	}
	return nil
}

// Register adds the services to g, which was created by [NewGRPC].
func (s *Services) Register(g grpc.ServiceRegistrar) {
	g = registrar{g}
	services := map[string]*grpc.ServiceDesc{}
	for method, handle := range s.Streams {
		service, method, _ := strings.Cut(method, "/")
		if services[service] == nil {
			services[service] = &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
		}
		services[service].Streams = append(services[service].Streams, grpc.StreamDesc{
			StreamName: method, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, st grpc.ServerStream) error { return overGRPC(grpcStream{st}, handle) },
		})
	}
	for _, streams := range services {
		g.RegisterService(streams, nil)
	}
	s.Others(g)
}

// registrar registers each method as a stream, which is the same on the wire, because grpc
// reads the request of a unary method before it can be rejected.
type registrar struct{ grpc.ServiceRegistrar }

func (r registrar) RegisterService(d *grpc.ServiceDesc, service any) {
	streams := *d
	streams.Methods, streams.Streams = nil, nil
	for _, st := range d.Streams {
		serve := st.Handler
		st.Handler = func(srv any, st grpc.ServerStream) error {
			if err := checkEncoding(st.Context()); err != nil {
				return err
			}
			return serve(srv, st)
		}
		streams.Streams = append(streams.Streams, st)
	}
	for _, m := range d.Methods {
		streams.Streams = append(streams.Streams, grpc.StreamDesc{
			StreamName: m.MethodName, ServerStreams: true,
			Handler: func(srv any, st grpc.ServerStream) error {
				if err := checkEncoding(st.Context()); err != nil {
					return err
				}
				reply, err := m.Handler(srv, st.Context(), st.RecvMsg, nil)
				if err != nil {
					return err
				}
				return st.SendMsg(reply)
			},
		})
	}
	r.ServiceRegistrar.RegisterService(&streams, service)
}

// overGRPC serves one stream of a grpc.Server until it ends.
func overGRPC(st grpcStream, handle Handler) error {
	if ConnOf(st.Context()) == nil {
		return errNoListener
	}
	var first held
	if err := st.RecvMsg(&first); err != nil {
		return ended(err)
	}
	begin, err := handle(st, first.ReadOnlyData())
	first.Free()
	if err != nil {
		return ended(err)
	}
	receiver, err := begin()
	if err != nil {
		return ended(err)
	}
	defer receiver.Ended()
	var m received
	for {
		if err := st.RecvMsg(&m); err != nil {
			return ended(err)
		}
		err := receiver.Receive(m.ReadOnlyData())
		m.Free()
		if err != nil {
			return err
		}
	}
}

var errNoListener = status.Error(codes.Internal, "this is not served on a transport.Listener")

type grpcStream struct{ grpc.ServerStream }

func (s grpcStream) Send(parts ...[]byte) error { return s.SendMsg(outgoing(parts)) }

// ended returns nil for the error of a client that has gone.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
