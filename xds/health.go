package xds

import (
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const adsService = "envoy.service.discovery.v3.AggregatedDiscoveryService"

// newHealth returns the health service (grpc.health.v1). It reports on the server as a
// whole, and on ADS by its name; both have the same status.
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

// Drain reports to health checks that the server is about to terminate. Streams continue.
func (s *Server) Drain() { s.health.Shutdown() }
