package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"wasmxds/e2e/wasmtest"
	"wasmxds/module/signed/signedtest"
)

// tlsExample makes certificates as the example says, while xds-server waits for them.
func tlsExample(t *testing.T, modules string) {
	f := newExample(t, modules, "tls")
	f.serve()
	certs := filepath.Join(f.definitions, "certs")
	_, err := f.server.Run(t.Context(), "certs", "--out", certs, "--client", "partner")
	must(t, err)
	e := f.envoy(newest(), "edge-1")
	ca, err := os.ReadFile(filepath.Join(certs, "ca.crt"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	partner, err := tls.LoadX509KeyPair(filepath.Join(certs, "client-partner.crt"), filepath.Join(certs, "client-partner.key"))
	must(t, err)
	get := func(listener string, certificates ...tls.Certificate) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: certificates}}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+e.address(listener)+"/", nil)
		must(t, err)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	f.eventually(func() error { return get("web") })
	f.eventually(func() error { return get("partners", partner) })
	if get("partners") == nil {
		t.Error("partners answers who has no certificate")
	}
}

// signedExample has the image of the example in a registry, first without a signature.
func signedExample(t *testing.T, modules string) {
	h := newHub(t)
	f := newExample(t, modules, "signed", "registry.example/", h.host+"/")
	key := signedtest.NewKey(t)
	f.write("cosign.pub", key.Public)
	h.push("filters/hello:v1", wasmtest.Filter{Header: "x-hello", Value: "1"})
	f.serveFrom(h)
	e := f.envoy(newest(), "edge-1")
	f.eventually(func() error {
		status, err := f.server.Status(t.Context())
		if err == nil && (len(status.Filters) != 1 || status.Filters[0].State != "failed") {
			err = fmt.Errorf("without a signature it is %+v", status.Filters)
		}
		return err
	})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ref, err := name.ParseReference(h.host+"/filters/hello:v1", name.Insecure)
	must(t, err)
	d, err := remote.Head(ref, remote.WithTransport(transport))
	must(t, err)
	signedtest.Push(t, transport, ref.Context().Name(), d.Digest.String(), key.Cosign(signedtest.Payload(d.Digest.String())))
	e.runs("hello")
	if got := e.get("web", "/"); got.reached.Get("X-Hello") != "1" && got.header.Get("X-Hello") != "1" {
		t.Errorf("%d without the filter: %v", got.status, got.header)
	}
}
