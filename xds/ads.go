package xds

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"

	"wasmxds/signal"
	"wasmxds/xds/swap"
	"wasmxds/xds/transport"
)

// Services returns the gRPC services: the aggregated discovery service, the access log
// service, the client status discovery service and the health service.
func (s *Server) Services() *transport.Services {
	streams := map[string]transport.Handler{
		adsService + "/StreamAggregatedResources": s.handler(false),
		adsService + "/DeltaAggregatedResources":  s.handler(true),
	}
	if s.logs.begin != nil {
		streams[signal.Service+"/"+signal.Method] = s.logHandler
	}
	return &transport.Services{
		Streams: streams,
		Others: func(g grpc.ServiceRegistrar) {
			statusv3.RegisterClientStatusDiscoveryServiceServer(g, csds{Server: s})
			healthpb.RegisterHealthServer(g, s.health)
		},
	}
}

func (s *Server) handler(delta bool) transport.Handler {
	return func(st transport.Stream, first []byte) (transport.Begin, error) {
		req := &request{delta: delta}
		if err := req.read(first); err != nil {
			return nil, undecoded(err)
		}
		return func() (transport.Receiver, error) { return s.receiver(st, req) }, nil
	}
}

// receiver begins a stream, of which this is the first request.
func (s *Server) receiver(st transport.Stream, req *request) (transport.Receiver, error) {
	ctx := st.Context()
	if err := s.identify(ctx, req); err != nil {
		return nil, err
	}
	if err := s.awaitFirst(ctx); err != nil {
		return nil, err
	}
	c, err := s.begin(ctx, st, req)
	if err != nil {
		return nil, err
	}
	return &requests{server: s, client: c}, nil
}

// requests passes the requests of one stream to the server.
type requests struct {
	server *Server
	client *client
	next   request   // reused for each request
	last   swap.Type // of the request before
}

func (r *requests) Receive(message []byte) error {
	req := &r.next
	defer func() { *req = request{} }() // don't hold names while waiting for the next request
	*req = request{delta: r.client.delta, of: r.client, likely: r.last}
	if err := req.decode(message); err != nil {
		return status.Errorf(codes.InvalidArgument, "decode a request: %v", err)
	}
	if req.Type != swap.Types {
		r.last = req.Type
	}
	return r.server.request(r.client, req)
}

func (r *requests) Ended() { r.server.disconnect(r.client) }

// nonceField returns the end of a response: field 5 of both kinds of response.
func nonceField(nonce string) []byte {
	b := protowire.AppendTag(make([]byte, 0, 24), 5, protowire.BytesType)
	return protowire.AppendString(b, nonce)
}
