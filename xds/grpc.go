package xds

import (
	"context"
	"errors"
	"io"
	"time"

	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// NewGRPC makes a grpc.Server for Server, to serve on a Listener: with the
// codec that shares bytes, and with what bounds a connection's memory and finds
// dead ones.
func NewGRPC(opts ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append([]grpc.ServerOption{
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
		grpc.MaxHeaderListSize(64 << 10),
	}, opts...)...)
}

// Register adds to g the aggregated discovery service, the client status
// discovery service and the health service.
func (s *Server) Register(g grpc.ServiceRegistrar) {
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

// overGRPC serves one stream of a grpc.Server until it ends.
func (s *Server) overGRPC(st grpc.ServerStream, delta bool) error {
	ctx := st.Context()
	if connOf(ctx) == nil {
		return errNoListener
	}
	if err := s.awaitFirst(ctx); err != nil {
		return ended(err)
	}
	var b encoded
	if err := st.RecvMsg(&b); err != nil {
		return ended(err)
	}
	first, err := s.first(ctx, b, delta)
	if err != nil {
		return err
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
