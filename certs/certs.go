// Package certs has the certificates of xds-server's listeners: read from
// files, and read again when the files change.
//
// Start with [Load], which gives a [Store]; [Store.Server] is the TLS
// configuration for listeners, and [Store.Run] keeps it up to date. New
// connections get what the files say now; those that are there stay as they
// are. Files that don't go together, as halfway through a renewal, change
// nothing until they do.
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

// maxFile is how many bytes a file of certificates may have.
const maxFile = 16 << 20

// Files are those of one side of TLS, in PEM.
type Files struct {
	Cert, Key string // certificate with its intermediates, and its private key
	// CA has the authorities that the other side's certificate must be from.
	// Of servers: ""; clients need none.
	CA string
}

// Store has what is in Files. It is safe for concurrent use.
type Store struct {
	files Files
	log   *slog.Logger
	now   atomic.Pointer[material]
	last  atomic.Pointer[Status]
}

// Status says how a Store is doing.
type Status struct {
	NotAfter time.Time // end of the certificate in use
	Loaded   time.Time // when it was read
	Err      error     // why the files as they are now are not in use; nil: they are
}

// material is what was read.
type material struct {
	raw  [3][]byte // Cert, Key, CA
	cert tls.Certificate
	ca   *x509.CertPool // nil: none
}

// Load reads the files, which must be good.
func Load(files Files, log *slog.Logger) (*Store, error) {
	s := &Store{files: files, log: log}
	m, err := files.read()
	if err != nil {
		return nil, err
	}
	s.use(m)
	return s, nil
}

func (s *Store) use(m *material) {
	s.now.Store(m)
	s.last.Store(&Status{NotAfter: m.cert.Leaf.NotAfter, Loaded: time.Now()})
	s.log.Info("certificate loaded", "file", s.files.Cert, "serial", fmt.Sprintf("%x", m.cert.Leaf.SerialNumber), "until", m.cert.Leaf.NotAfter)
}

func (s *Store) Status() Status { return *s.last.Load() }

// read gives what is in the files, if it goes together.
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

// Run looks at the files every so often, until ctx ends; then it returns nil.
// Their content is compared, so any way of writing them will do, and any file
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

// Reload looks at the files now.
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

// Server is the configuration for a listener whose clients speak one of these
// protocols ("h2", "http/1.1"): TLS 1.2 at the least, and where Files.CA is
// given, a client certificate from one of the authorities.
func (s *Store) Server(protocols ...string) *tls.Config {
	// Made once, not for each connection: its session tickets are good as long
	// as it is.
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

// served is a configuration and what it was made of.
type served struct {
	material *material
	config   *tls.Config
}

func (m *material) server(protocols []string) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{m.cert},
		// Small records at first are for pages that are shown as they come.
		DynamicRecordSizingDisabled: true,
	}
	if m.ca != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = m.ca
	}
	return config
}

// Client is the configuration to connect to a server with, for a process that
// ends before its certificates do. Cert and Key may be empty: no certificate
// is shown then. So may CA: the system's authorities are trusted then.
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
