package certs_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
)

// TestStreamsStay checks that a gRPC stream stays open while certificates
// change, and later connections get the new ones.
func TestStreamsStay(t *testing.T) {
	dir := t.TempDir()
	dev(t, dir, "edge-1")
	store := load(t, pair(dir, "server"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, status := grpc.NewServer(grpc.Creds(credentials.NewTLS(store.Server("h2")))), health.NewServer()
	healthpb.RegisterHealthServer(server, status)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)

	watch := func() (healthpb.Health_WatchClient, string) {
		t.Helper()
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client(t, pair(dir, "client-edge-1")))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		var p peer.Peer
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&p)); err != nil {
			t.Fatal(err)
		}
		stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		state := p.AuthInfo.(credentials.TLSInfo).State
		if state.Version < tls.VersionTLS12 {
			t.Errorf("TLS version %x", state.Version)
		}
		return stream, state.PeerCertificates[0].SerialNumber.String()
	}
	next := func(stream healthpb.Health_WatchClient, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := stream.Recv()
		if err != nil || got.Status != want {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	}

	old, oldSerial := watch()
	next(old, healthpb.HealthCheckResponse_SERVING)
	dev(t, dir, "edge-1")
	store.Reload()
	fresh, freshSerial := watch()
	next(fresh, healthpb.HealthCheckResponse_SERVING)
	if oldSerial == freshSerial {
		t.Error("the certificate is still the old one")
	}
	status.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	next(old, healthpb.HealthCheckResponse_NOT_SERVING)
	next(fresh, healthpb.HealthCheckResponse_NOT_SERVING)
}
