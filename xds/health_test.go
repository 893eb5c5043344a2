package xds_test

import (
	"context"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"wasmxds/xds"
)

func TestHealth(t *testing.T) {
	transports(t, func(t *testing.T) {
		for _, service := range []string{"", "envoy.service.discovery.v3.AggregatedDiscoveryService"} {
			t.Run(service, func(t *testing.T) {
				s := start(t, xds.Options{})
				client := healthpb.NewHealthClient(s.dial(t, ""))
				ctx, cancel := context.WithTimeout(context.Background(), within)
				defer cancel()
				watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
				if err != nil {
					t.Fatal(err)
				}
				is := func(want healthpb.HealthCheckResponse_ServingStatus) {
					t.Helper()
					if r, err := watch.Recv(); err != nil || r.Status != want {
						t.Errorf("told %v, %v; want %v", r.GetStatus(), err, want)
					}
					if r, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil || r.Status != want {
						t.Errorf("is %v, %v; want %v", r.GetStatus(), err, want)
					}
				}
				is(healthpb.HealthCheckResponse_NOT_SERVING)
				s.publish(t, hello1)
				is(healthpb.HealthCheckResponse_SERVING)
				e := s.up(t, "a", true)
				s.Drain()
				is(healthpb.HealthCheckResponse_NOT_SERVING)
				s.publish(t, hello2) // streams continue, and the status stays the same
				e.has(moduleOf("hello", "v2"))
				s.settled(t, "a")
				if r, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
					t.Errorf("is %v, %v while it drains", r.GetStatus(), err)
				}
			})
		}
	})
}
