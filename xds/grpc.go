package xds

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// NewGRPC makes a grpc.Server for Server, to serve on a Listener, with
// credentials (nil: plaintext): with the codec that shares bytes, and with what
// bounds a connection's memory and finds dead ones.
func NewGRPC(creds credentials.TransportCredentials, opts ...grpc.ServerOption) *grpc.Server {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return grpc.NewServer(append([]grpc.ServerOption{
		grpc.Creds(metered{creds}),
		grpc.StatsHandler(encodings{}),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxConcurrentStreams(16),
		grpc.MaxRecvMsgSize(4 << 20),
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(128 << 10),
		grpc.WriteBufferSize(16 << 10),
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
	case c == nil: // not of a Listener
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

// meteredConn is what a conn carries, after TLS.
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

// encodings notes how the messages of an RPC are compressed: grpc tells only
// its statistics before it unpacks a message.
type encodings struct{}

type encodingKey struct{}

func (encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, encodingKey{}, new(string))
}

func (encodings) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if head, ok := s.(*stats.InHeader); ok {
		*ctx.Value(encodingKey{}).(*string) = head.Compression
	}
}

func (encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (encodings) HandleConn(context.Context, stats.ConnStats)                       {}

// checkEncoding refuses an RPC whose client may compress messages. Codecs come
// in with whatever imports them, and a few bytes unpack to megabytes.
func checkEncoding(ctx context.Context) error {
	if name, ok := ctx.Value(encodingKey{}).(*string); ok && *name != "" && *name != encoding.Identity {
		return status.Errorf(codes.Unimplemented, "messages are not to be compressed, by %s or otherwise", *name)
	}
	return nil
}

// Register adds to g the aggregated discovery service, the client status
// discovery service and the health service.
func (s *Server) Register(g grpc.ServiceRegistrar) {
	g = registrar{g}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: adsService,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "StreamAggregatedResources", ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, st grpc.ServerStream) error { return s.overGRPC(st, false) }},
			{StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, st grpc.ServerStream) error { return s.overGRPC(st, true) }},
		},
		Metadata: "envoy/service/discovery/v3/ads.proto",
	}, nil)
	statusv3.RegisterClientStatusDiscoveryServiceServer(g, csds{Server: s})
	healthpb.RegisterHealthServer(g, s.health)
}

// registrar registers each method as a stream, with which it is the same on the
// wire: grpc reads a unary method's request before anyone can say no.
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
func (s *Server) overGRPC(st grpc.ServerStream, delta bool) error {
	ctx := st.Context()
	if connOf(ctx) == nil {
		return errNoListener
	}
	first, err := s.firstOf(st, delta)
	if err != nil {
		return ended(err)
	}
	if err := s.awaitFirst(ctx); err != nil {
		return ended(err)
	}
	c, err := s.begin(ctx, grpcStream{st}, first)
	if err != nil {
		return err
	}
	defer s.disconnect(c)
	req := &request{delta: delta, of: c}
	for {
		if err := st.RecvMsg(req); err != nil {
			return ended(err)
		}
		if err := s.request(c, req); err != nil {
			return err
		}
		*req = request{delta: delta, of: c} // names are not held while the next is waited for
	}
}

// firstOf gives the first request. Its bytes are not held any longer.
func (s *Server) firstOf(st grpc.ServerStream, delta bool) (*request, error) {
	var b encoded
	if err := st.RecvMsg(&b); err != nil {
		return nil, err
	}
	return s.first(st.Context(), b, delta)
}

var errNoListener = status.Error(codes.Internal, "xds-server does not serve on an xds.Listener")

type grpcStream struct{ grpc.ServerStream }

func (s grpcStream) send(body []byte, nonce string) error { return s.SendMsg(&response{body, nonce}) }

// ended turns a client's going away into the end of its stream.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
