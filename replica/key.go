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

// Key is what a server shows to others, to be known by. It lives as long as the
// process.
type Key struct {
	certificate tls.Certificate
	hash        string
}

// NewKey makes a key, and a certificate which says nothing but that.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for other servers: %w", err)
	}
	// Nobody looks at when it is good: clocks may differ.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for other servers: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for other servers: %w", err)
	}
	return &Key{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, hashOf(leaf)}, nil
}

// Hash names the public key.
func (k *Key) Hash() string { return k.hash }

func hashOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// shown is the hash of the key of who is at the other end.
func shown(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", errors.New("it shows no certificate")
	}
	return hashOf(s.PeerCertificates[0]), nil
}

// tls is the configuration of either side, which takes who shows a key that known
// knows.
func (k *Key) tls(known func(hash string) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{k.certificate},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // no authority says who it is: known does
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
