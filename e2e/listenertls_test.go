package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	var der []byte
	der, a.key = sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pool.AddCert(a.cert)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func sign(t *testing.T, template *x509.Certificate, by *authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(t, err)
	return der, key
}

// issue gives a certificate and its key, in PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	der, private := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"shop.example"}}, a)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// tlsClient is one that keeps its connections.
func tlsClient(t *testing.T, a *authority, http2 bool, certificates ...tls.Certificate) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: a.pool, ServerName: "shop.example", Certificates: certificates}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// shown asks for a page, and tells the name in the certificate, and whether the
// connection was there.
func shown(ctx context.Context, client *http.Client, address, header, want string) (name, protocol string, reused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return "", "", false, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", "", reused, err
	}
	defer resp.Body.Close()
	body := make([]byte, 64<<10)
	n, _ := resp.Body.Read(body)
	if resp.StatusCode != http.StatusOK || !strings.Contains(strings.ToLower(string(body[:n])), header+": "+want) {
		return "", "", reused, fmt.Errorf("%s: %s", resp.Status, body[:n])
	}
	return resp.TLS.PeerCertificates[0].Subject.CommonName, resp.Proto, reused, nil
}

// TestListenerTLS: a listener shows a certificate that is renewed without a
// connection closed, in whatever order its files are written; it asks clients for
// theirs; and one without a certificate waits for it.
func TestListenerTLS(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		a, partners := newAuthority(t, "ours"), newAuthority(t, "partners")
		put := func(name string, content []byte) {
			t.Helper()
			f.write(name, string(content))
		}
		var keys [][]byte
		issue := func(name string) (cert, key []byte) {
			cert, key = a.issue(t, name)
			keys = append(keys, key)
			return cert, key
		}
		cert, key := issue("first")
		put("web.crt", cert)
		put("web.key", key)
		put("partners.pem", partners.pem)
		listener := func(name, tls string) string {
			return fmt.Sprintf("kind: Listener\nname: %s\naddress: 127.0.0.1:0\ntls: %s\nroutes:\n- {prefix: /, upstream: %q}\n", name, tls, f.upstream.Address())
		}
		f.write("web.yaml", listener("web", "{cert: web.crt, key: web.key}"))
		f.write("partners.yaml", listener("partners", "{cert: web.crt, key: web.key, clientCA: partners.pem}"))
		f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "1"})))
		f.serve()
		e := f.envoy(c, "edge-1")
		address := e.address("web")
		shows := func(client func() *http.Client, address, want string) {
			t.Helper()
			f.eventually(func() error {
				name, _, _, err := shown(t.Context(), client(), address, "x-hello", "1")
				if err == nil && name != want {
					err = fmt.Errorf("the certificate is %q, want %q", name, want)
				}
				return err
			})
		}
		fresh := func() *http.Client { return tlsClient(t, a, false) }
		shows(fresh, address, "first")

		// On these connections requests go on all the while.
		ctx, stop := context.WithCancel(t.Context())
		var kept sync.WaitGroup
		requests := make([]int, 2)
		for i, http2 := range []bool{false, true} {
			client := tlsClient(t, a, http2)
			kept.Go(func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for ; ctx.Err() == nil; requests[i]++ {
					_, protocol, reused, err := shown(context.WithoutCancel(ctx), client, address, "x-hello", "1")
					if err != nil || requests[i] > 0 && !reused || http2 != (protocol == "HTTP/2.0") {
						t.Errorf("request %d by %s, connection reused %v: %v", requests[i], protocol, reused, err)
						return
					}
					<-tick.C
				}
			})
		}
		cert, key = issue("second")
		put("web.crt", cert)
		f.eventually(func() error { return f.says("cert and key do not go together") })
		shows(fresh, address, "first")
		put("web.key", key)
		shows(fresh, address, "second")
		cert, key = issue("third")
		put("web.key", key)
		put("web.crt", cert)
		shows(fresh, address, "third")
		put("web.key", []byte("gone bad"))
		f.eventually(func() error { return f.says("no private key") })
		f.restartServer()
		f.eventually(func() error { return f.says("no private key") })
		shows(fresh, address, "third")

		// Who has no certificate gets nowhere, who has one does.
		if _, _, _, err := shown(t.Context(), tlsClient(t, a, false), e.address("partners"), "x-hello", "1"); err == nil {
			t.Error("a client without a certificate was let in")
		}
		theirs, theirKey := partners.issue(t, "partner")
		pair, err := tls.X509KeyPair(theirs, theirKey)
		must(t, err)
		shows(func() *http.Client { return tlsClient(t, a, true, pair) }, e.address("partners"), "third")
		stranger, strangerKey := a.issue(t, "stranger")
		pair, err = tls.X509KeyPair(stranger, strangerKey)
		must(t, err)
		if _, _, _, err := shown(t.Context(), tlsClient(t, a, false, pair), e.address("partners"), "x-hello", "1"); err == nil {
			t.Error("a client with a certificate of another authority was let in")
		}

		// One that has no certificate waits, and is served when it comes.
		f.write("late.yaml", listener("late", "{cert: late.crt, key: late.key}"))
		f.eventually(func() error { return f.says("late.crt") })
		if _, err := e.Listener(t.Context(), "late"); err == nil {
			t.Error("a listener without a certificate is there")
		}
		put("late.key", keys[0])
		put("late.crt", a.certFor(t, keys[0]))
		late := e.address("late")
		shows(fresh, late, "late")

		stop()
		kept.Wait()
		if requests[0] < 20 || requests[1] < 20 {
			t.Errorf("%v requests on connections that were kept", requests)
		}
		f.tellsNoKey(keys)
	})
}

// certFor is a certificate for a key that there is.
func (a *authority) certFor(t *testing.T, key []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(key)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "late"}, DNSNames: []string{"shop.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.(*ecdsa.PrivateKey).Public(), a.key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// says tells whether the status tells of a problem.
func (f *fleet) says(text string) error {
	b, err := f.server.Get(f.t.Context(), "/api/v1/status")
	if err == nil && !strings.Contains(string(b), text) {
		err = fmt.Errorf("the status does not say %q", text)
	}
	return err
}

// tellsNoKey looks for private keys where nobody should find any: in what xds-server
// says, and in files that others may read.
func (f *fleet) tellsNoKey(keys [][]byte) {
	f.t.Helper()
	var lines []string
	for _, key := range keys {
		lines = append(lines, strings.Split(string(key), "\n")[1])
	}
	look := func(where string, b []byte) {
		for _, line := range lines {
			if strings.Contains(string(b), line) {
				f.t.Errorf("a key is in %s", where)
			}
		}
	}
	for _, path := range []string{"/api/v1/status", "/api/v1/rollouts", "/", "/metrics"} {
		b, err := f.server.Get(f.t.Context(), path)
		if err != nil {
			f.t.Errorf("%s: %v", path, err)
		}
		look(path, b)
	}
	b, err := os.ReadFile(f.server.Log())
	must(f.t, err)
	look("the log", b)
	must(f.t, filepath.Walk(filepath.Join(f.dir, "data"), func(path string, info os.FileInfo, err error) error {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			b, err := os.ReadFile(path)
			look(path, b)
			return err
		}
		return nil
	}))
}
