package main

import (
	"fmt"
	"log/slog"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"wasmxds/identity/admission"
	"wasmxds/xds"
	"wasmxds/xds/transport"
)

const transportHelp = `Transport: grpc-go serves the ADS streams. --transport h2 uses xds-server's own HTTP/2
implementation instead, which needs a fraction of the memory per Envoy and has the
same limits; use it for thousands of Envoys per xds-server. Health checks and client
status are available at the same address either way. With h2, a connection that
carries a stream serves nothing else, so use a separate connection for them, as all
clients other than Envoy do.`

// adsServer serves ADS.
type adsServer interface {
	Serve(net.Listener) error // nil: it was stopped
	GracefulStop()
	Stop()
}

func checkTransport(name string) error {
	if name != "grpc" && name != "h2" {
		return fmt.Errorf("--transport %s: must be grpc or h2", name)
	}
	return nil
}

// transport makes the one with that name.
func (g *guard) transport(name string, s *xds.Server, log *slog.Logger) adsServer {
	intercept := grpc.StreamInterceptor(g.admission.Intercept)
	var creds credentials.TransportCredentials
	if g.ads != nil {
		creds = admission.Credentials(g.ads.Server("h2"), s.HandshakeFailed)
	}
	if name == "h2" {
		return transport.NewH2(s.Services(), transport.H2Options{Credentials: creds, Meet: g.admission.Meet, Log: log}, intercept)
	}
	served := transport.NewGRPC(creds, intercept)
	s.Services().Register(served)
	return served
}
