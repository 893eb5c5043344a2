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

const transportHelp = `Streams are served by grpc-go. --transport h2 serves them by HTTP/2 code of
xds-server's own instead, with the same limits: for thousands of Envoys on one
xds-server, of which each then costs a fraction of the memory. Health and client
status are at the same address either way; with h2 a connection that was opened
for a stream serves nothing else, so ask for them on another one, as all clients
that are not Envoys do.`

// adsServer serves ADS.
type adsServer interface {
	Serve(net.Listener) error // nil: it was stopped
	GracefulStop()
	Stop()
}

func checkTransport(name string) error {
	if name != "grpc" && name != "h2" {
		return fmt.Errorf("--transport %s: grpc or h2", name)
	}
	return nil
}

// transport makes the one with that name.
func (g *guard) transport(name string, s *xds.Server, log *slog.Logger) adsServer {
	intercept := grpc.StreamInterceptor(g.admission.Intercept)
	var creds credentials.TransportCredentials
	if g.ads != nil {
		creds = admission.Credentials(g.ads.Server("h2"), log)
	}
	if name == "h2" {
		return transport.NewH2(s.Services(), transport.H2Options{Credentials: creds, Meet: g.admission.Meet, Log: log}, intercept)
	}
	served := transport.NewGRPC(creds, intercept)
	s.Services().Register(served)
	return served
}
