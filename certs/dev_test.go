package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/certs"
)

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestDev(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	now := time.Now().Truncate(time.Second)
	made, err := certs.Dev(dir, certs.Development{Hosts: []string{"xds.internal", "10.0.0.1"}, Clients: []string{"edge-1"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range made {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(path))
		if strings.HasSuffix(path, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
	}
	if want := []string{"ca.key", "ca.crt", "server.key", "server.crt", "client-edge-1.key", "client-edge-1.crt"}; !slices.Equal(names, want) {
		t.Errorf("made %v, want %v", names, want)
	}
	server, client := certificate(t, dir+"/server.crt"), certificate(t, dir+"/client-edge-1.crt")
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "xds.internal", "10.0.0.1"} {
		if err := server.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if got := client.URIs[0].String(); got != "spiffe://wasmxds.dev/node/edge-1" {
		t.Errorf("client is %s", got)
	}
	if got := client.NotAfter.Sub(now); got != 90*24*time.Hour {
		t.Errorf("good for %v", got)
	}

	// Again: the same authority, new pairs.
	ca := certificate(t, dir+"/ca.crt")
	if made, err = certs.Dev(dir, certs.Development{Clients: []string{"edge-2"}}); err != nil || len(made) != 4 {
		t.Errorf("made %v, %v", made, err)
	}
	if !certificate(t, dir+"/ca.crt").Equal(ca) || certificate(t, dir+"/server.crt").Equal(server) {
		t.Error("not the same authority, or not a new server")
	}
	if err := certificate(t, dir+"/client-edge-2.crt").CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
}

func TestDevErrors(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"../x", "", "a/b", ".a"} {
		if _, err := certs.Dev(dir, certs.Development{Clients: []string{name}}); err == nil {
			t.Errorf("client %q was made", name)
		}
	}
	if _, err := certs.Dev(dir, certs.Development{TrustDomain: "No/Domain"}); err == nil {
		t.Error("a trust domain that is none")
	}
	if _, err := certs.Dev(dir, certs.Development{Now: time.Now().AddDate(11, 0, 0)}); err == nil || !strings.Contains(err.Error(), "remove its files") {
		t.Errorf("an authority that has ended: %v", err)
	}
	if err := os.Rename(dir+"/server.key", dir+"/ca.key"); err == nil {
		if _, err := certs.Dev(dir, certs.Development{}); err == nil || !strings.Contains(err.Error(), "not the certificate's") {
			t.Errorf("another key: %v", err)
		}
	}
	if err := os.WriteFile(dir+"/ca.crt", nil, 0o600); err == nil {
		if _, err := certs.Dev(dir, certs.Development{}); err == nil || !strings.Contains(err.Error(), "not PEM") {
			t.Errorf("an empty file: %v", err)
		}
	}
}
