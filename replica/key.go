package replica

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Key authenticates a replica to the others. It lives as long as the process.
type Key struct {
	certificate tls.Certificate
	hash        string
}

// NewKey creates a key, and a certificate with nothing but the key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create the key for other replicas: %w", err)
	}
	// Nobody checks the validity period, because clocks may differ.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, fmt.Errorf("create the certificate for other replicas: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("create the certificate for other replicas: %w", err)
	}
	return &Key{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, hashOf(leaf)}, nil
}

// Hash identifies the public key.
func (k *Key) Hash() string { return k.hash }

func hashOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// shown returns the hash of the other side's key.
func shown(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", errors.New("it presents no certificate")
	}
	return hashOf(s.PeerCertificates[0]), nil
}

// tls returns the TLS configuration of either side. It accepts a key if known returns nil
// for its hash.
func (k *Key) tls(known func(hash string) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{k.certificate},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // known authenticates the other side, not a certificate authority
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		VerifyConnection: func(s tls.ConnectionState) error {
			hash, err := shown(s)
			if err != nil {
				return err
			}
			return known(hash)
		},
	}
}
