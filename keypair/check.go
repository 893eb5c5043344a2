package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"wasmxds/certs"
	"wasmxds/resource"
)

// material is the content of files or Secrets.
type material struct{ cert, key, clientCA []byte }

func (m material) equal(o material) bool {
	return bytes.Equal(m.cert, o.cert) && bytes.Equal(m.key, o.key) && bytes.Equal(m.clientCA, o.clientCA)
}

// materialOf returns the part of a pair that Envoys are sent.
func materialOf(p resource.Pair) material { return material{p.Chain, p.Key, p.ClientCA} }

// check returns what Envoys may be sent, if they will accept it: a certificate
// that matches the key and is valid now. It keeps only the relevant PEM blocks
// of each file. Errors do not contain any part of the key.
func check(m material, clients bool, now time.Time) (*resource.Pair, error) {
	p := &resource.Pair{Chain: only(m.cert, "CERTIFICATE"), Key: only(m.key, keyTypes...)}
	switch {
	case len(p.Chain) == 0:
		return nil, errors.New("cert: there is no certificate in PEM")
	case len(p.Key) == 0 && len(only(m.key, "ENCRYPTED PRIVATE KEY")) > 0:
		return nil, errors.New("key: is encrypted, and nobody could say the password")
	case len(p.Key) == 0:
		return nil, errors.New("key: there is no private key in PEM")
	}
	pair, err := tls.X509KeyPair(p.Chain, p.Key)
	if err != nil {
		return nil, fmt.Errorf("cert and key do not go together: %w", err)
	}
	leaf := pair.Leaf
	if err := usable(leaf); err != nil {
		return nil, err
	}
	switch {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("cert: has expired, on %s", day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("cert: does not hold before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if !clients {
		return p, nil
	}
	p.ClientCA = only(m.clientCA, "CERTIFICATE")
	if len(p.ClientCA) == 0 {
		return nil, errors.New("clientCA: there is no certificate in PEM")
	}
	for rest := p.ClientCA; ; {
		block, more := pem.Decode(rest)
		if block == nil {
			return p, nil
		}
		rest = more
		ca, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Errorf("clientCA: %w", err)
		case !ca.IsCA:
			return nil, fmt.Errorf("clientCA: the certificate of %q is not that of an authority", ca.Subject)
		}
	}
}

var keyTypes = []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}

// only returns the PEM blocks of the given types.
func only(text []byte, types ...string) []byte {
	var out bytes.Buffer
	for rest := text; ; {
		block, more := pem.Decode(rest)
		if block == nil {
			return out.Bytes()
		}
		rest = more
		for _, t := range types {
			if block.Type == t && len(block.Headers) == 0 { // an encrypted block has headers
				_ = pem.Encode(&out, block) // a buffer returns no errors
			}
		}
	}
}

// usable returns an error if Envoy can't serve a certificate.
func usable(leaf *x509.Certificate) error {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("cert: Envoy takes no RSA key of %d bits, it needs 2048 or more", key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return fmt.Errorf("cert: Envoy takes no key on the curve %s", key.Curve.Params().Name)
		}
	default:
		return fmt.Errorf("cert: Envoy takes keys of RSA and ECDSA alone, this one is of %v", leaf.PublicKeyAlgorithm)
	}
	return nil
}

// warning returns a warning about the certificate in use, or "".
func warning(chain []byte, now time.Time) string {
	block, _ := pem.Decode(chain)
	if block == nil {
		return ""
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
	case now.After(leaf.NotAfter):
		return "its certificate has expired, on " + day(leaf.NotAfter)
	case now.After(certs.Soon(leaf)):
		return "its certificate expires on " + day(leaf.NotAfter)
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
