// Package certs provides the certificates of xds-server's listeners. It reads
// them from files, and reloads them when the files change.
//
// Start with [Load], which returns a [Store]. [Store.Server] returns the TLS
// configuration for listeners, and [Store.Run] keeps it up to date. New
// connections use the current files; existing connections are not affected.
// Files that don't match, as in the middle of a renewal, change nothing until
// they do.
//
// [Dev] makes a certificate authority and certificates for development.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"wasmxds/files"
)

// maxFile is the maximum size of a file of certificates in bytes.
const maxFile = 16 << 20

// Files are the PEM files of one side of TLS.
type Files struct {
	Cert, Key string // certificate with its intermediates, and its private key
	// CA has the authorities for the other side's certificate. If it is "", a
	// server requires no client certificates.
	CA string
}

// Store has the content of Files. It is safe for concurrent use.
type Store struct {
	files Files
	log   *slog.Logger
	now   atomic.Pointer[material]
	last  atomic.Pointer[Status]
}

// Status is the status of a Store.
type Status struct {
	NotAfter time.Time // expiry of the certificate in use
	Soon     time.Time // when a renewal is overdue, see [Soon]
	Loaded   time.Time // when it was read
	Err      error     // why the current files are not in use; nil: they are
}

// material is the content of the files.
type material struct {
	raw  [3][]byte // Cert, Key, CA
	cert tls.Certificate
	ca   *x509.CertPool // nil: none
}

// Load reads the files, which must be valid.
func Load(files Files, log *slog.Logger) (*Store, error) {
	s := &Store{files: files, log: log}
	m, err := files.read()
	if err != nil {
		return nil, err
	}
	s.use(m)
	return s, nil
}

// Soon returns when to warn that a certificate expires: 14 days before, or in
// the last sixth of its lifetime if that is shorter. By then, whatever renews
// certificates should have done so: most do after half or two thirds of it.
func Soon(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-min(14*24*time.Hour, c.NotAfter.Sub(c.NotBefore)/6))
}

func (s *Store) use(m *material) {
	s.now.Store(m)
	s.last.Store(&Status{NotAfter: m.cert.Leaf.NotAfter, Soon: Soon(m.cert.Leaf), Loaded: time.Now()})
	s.log.Info("certificate loaded", "file", s.files.Cert, "serial", fmt.Sprintf("%x", m.cert.Leaf.SerialNumber), "until", m.cert.Leaf.NotAfter)
}

func (s *Store) Status() Status { return *s.last.Load() }

// read returns the content of the files, if they match.
func (f Files) read() (*material, error) {
	m := &material{}
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if name == "" && i == 2 {
			continue
		}
		var err error
		if m.raw[i], err = files.Read(name, maxFile); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	var err error
	if m.cert, err = tls.X509KeyPair(m.raw[0], m.raw[1]); err != nil {
		return nil, fmt.Errorf("certificate %s and key %s: %w", f.Cert, f.Key, err)
	}
	if f.CA != "" {
		m.ca = x509.NewCertPool()
		if !m.ca.AppendCertsFromPEM(m.raw[2]) {
			return nil, fmt.Errorf("%s has no certificate in PEM", f.CA)
		}
	}
	return m, nil
}

// Run reloads the files at an interval until ctx ends. Then it returns nil. It
// compares their content, so it works with any way of writing them and any file
// system.
func (s *Store) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Reload()
		}
	}
}

// Reload reads the files now.
func (s *Store) Reload() {
	m, err := s.files.read()
	last := s.Status()
	if err != nil {
		if last.Err == nil || last.Err.Error() != err.Error() {
			s.log.Warn("certificates can't be loaded: the previous ones stay in use", "error", err, "until", last.NotAfter)
		}
		last.Err = err
		s.last.Store(&last)
		return
	}
	if m.same(s.now.Load()) {
		last.Err = nil
		s.last.Store(&last)
		return
	}
	s.use(m)
}

func (m *material) same(other *material) bool {
	for i := range m.raw {
		if !bytes.Equal(m.raw[i], other.raw[i]) {
			return false
		}
	}
	return true
}

// Server returns the configuration for a listener with these protocols ("h2",
// "http/1.1"): at least TLS 1.2 and, if Files.CA is set, a client certificate
// from one of the authorities.
func (s *Store) Server(protocols ...string) *tls.Config {
	// The configuration is not made for each connection, because its session
	// tickets are valid only as long as it exists.
	var made atomic.Pointer[served]
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := s.now.Load()
		if last := made.Load(); last != nil && last.material == m {
			return last.config, nil
		}
		next := &served{m, m.server(protocols)}
		made.Store(next)
		return next.config, nil
	}
	config := s.now.Load().server(protocols)
	config.GetConfigForClient = current
	return config
}

// served is a configuration and the material that it was made from.
type served struct {
	material *material
	config   *tls.Config
}

func (m *material) server(protocols []string) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{m.cert},
		// Small initial records only help pages that are rendered while they
		// load.
		DynamicRecordSizingDisabled: true,
	}
	if m.ca != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = m.ca
	}
	return config
}

// Client returns the configuration to connect to a server, for a process that
// ends before its certificates expire. If Cert and Key are empty, it presents
// no certificate. If CA is empty, it trusts the system's authorities.
func Client(f Files) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := files.Read(f.CA, maxFile)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", f.CA)
		}
	}
	switch {
	case f.Cert != "" && f.Key != "":
		own, err := Files{Cert: f.Cert, Key: f.Key}.read()
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own.cert}
	case f.Cert != "" || f.Key != "":
		return nil, errors.New("a client certificate needs both its file and its key's, or neither")
	}
	return config, nil
}
