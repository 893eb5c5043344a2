package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Development has the options of [Dev].
type Development struct {
	Hosts       []string      // names and addresses of the server, in addition to localhost
	Clients     []string      // names of clients; each gets a pair
	TrustDomain string        // of the SPIFFE IDs; "": wasmxds.dev
	Valid       time.Duration // validity of server and client certificates; 0: 90 days. The authority's is ten years
	Now         time.Time     // zero: time.Now()
}

// The names of Dev's files: NAME.crt and NAME.key. For clients, NAME is
// "client-" followed by the client's name.
const (
	devCA     = "ca"
	devServer = "server"
)

// Dev makes a certificate authority in a folder, and signs pairs for the server
// and for each client. It is for development, since the authority's key is
// stored beside them. It reuses an existing authority, but always makes new
// pairs. It returns the files that it wrote.
//
// The server is spiffe://TRUST-DOMAIN/xds-server. A client is
// spiffe://TRUST-DOMAIN/node/NAME and, if NAME is a valid DNS name, also that.
func Dev(dir string, d Development) ([]string, error) {
	if d.TrustDomain == "" {
		d.TrustDomain = "wasmxds.dev"
	}
	if _, err := spiffeid.TrustDomainFromString(d.TrustDomain); err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	if d.Valid == 0 {
		d.Valid = 90 * 24 * time.Hour
	}
	if d.Now.IsZero() {
		d.Now = time.Now()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	out := &folder{dir: dir}
	ca, err := out.authority(d.Now)
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	leaves, err := d.leaves()
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	for _, l := range leaves {
		l.NotBefore, l.NotAfter = d.Now.Add(-time.Minute), d.Now.Add(d.Valid)
		if err := out.pair(l.name, l.Certificate, ca); err != nil {
			return nil, fmt.Errorf("make certificates: %w", err)
		}
	}
	return out.written, nil
}

// leaf is a certificate to make, and the name of its files.
type leaf struct {
	name string
	*x509.Certificate
}

// clientName matches valid names of clients, which are used in file names.
var clientName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (d Development) leaves() ([]leaf, error) {
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "xds-server"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: d.TrustDomain, Path: "/xds-server"}},
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, d.Hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	all := []leaf{{devServer, server}}
	for _, name := range d.Clients {
		if !clientName.MatchString(name) {
			return nil, fmt.Errorf("client %q: a name has letters, digits, and _ . - after the first", name)
		}
		all = append(all, leaf{"client-" + name, &x509.Certificate{
			Subject:     pkix.Name{CommonName: name},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			URIs:        []*url.URL{{Scheme: "spiffe", Host: d.TrustDomain, Path: "/node/" + name}},
			DNSNames:    []string{name},
		}})
	}
	return all, nil
}

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// folder is the folder of the files.
type folder struct {
	dir     string
	written []string
}

// authority reads the existing authority, or makes one.
func (f *folder) authority(now time.Time) (*authority, error) {
	certPEM, err := os.ReadFile(f.path(devCA, ".crt"))
	if errors.Is(err, fs.ErrNotExist) {
		template := &x509.Certificate{
			Subject:               pkix.Name{CommonName: "wasmxds development CA"},
			NotBefore:             now.Add(-time.Minute),
			NotAfter:              now.AddDate(10, 0, 0),
			IsCA:                  true,
			MaxPathLenZero:        true,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		if err := f.pair(devCA, template, nil); err != nil {
			return nil, err
		}
		certPEM, err = os.ReadFile(f.path(devCA, ".crt"))
	}
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(f.path(devCA, ".key"))
	if err != nil {
		return nil, err
	}
	ca, err := parseAuthority(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority in %s: %w", f.dir, err)
	}
	if now.After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("the authority in %s is good until %s only; remove its files for a new one", f.dir, ca.cert.NotAfter.Format(time.DateOnly))
	}
	return ca, nil
}

func parseAuthority(certPEM, keyPEM []byte) (*authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &authority{cert, key}, nil
}

// pair makes a key and a certificate for it. If ca is nil, the certificate is
// self-signed.
func (f *folder) pair(name string, template *x509.Certificate, ca *authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return err
	}
	if !template.IsCA {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	signer := ca
	if signer == nil {
		signer = &authority{template, key}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, signer.cert, &key.PublicKey, signer.key)
	if err != nil {
		return err
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := f.write(name, ".key", &pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}, 0o600); err != nil {
		return err
	}
	return f.write(name, ".crt", &pem.Block{Type: "CERTIFICATE", Bytes: cert}, 0o644)
}

func (f *folder) path(name, ext string) string { return filepath.Join(f.dir, name+ext) }

func (f *folder) write(name, ext string, block *pem.Block, perm fs.FileMode) error {
	path := f.path(name, ext)
	if err := renameio.WriteFile(path, pem.EncodeToMemory(block), perm, renameio.WithTempDir(f.dir)); err != nil {
		return err
	}
	f.written = append(f.written, path)
	return nil
}
