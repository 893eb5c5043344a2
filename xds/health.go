package xds

import (
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const adsService = "envoy.service.discovery.v3.AggregatedDiscoveryService"

// newHealth makes the health service (grpc.health.v1): of the server as a
// whole, and of ADS by its name, which are the same.
func newHealth() *health.Server {
	h := health.NewServer()
	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus(adsService, healthpb.HealthCheckResponse_NOT_SERVING)
	return h
}

func (s *Server) setServing(st healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", st)
	s.health.SetServingStatus(adsService, st)
}

// Drain tells whoever asks for its health that the server is about to end.
// Streams go on.
func (s *Server) Drain() { s.health.Shutdown() }
