package module

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
)

// Policy determines where modules may come from. The authors of definitions may
// have less access than xds-server: without a policy, a URL in a definition
// could make it send requests to a cloud's metadata service. The zero value
// allows every scheme and host, but no link-local, metadata and other special
// addresses.
//
// Addresses are checked when a connection is made, after DNS, so that no name
// can bypass the check. Redirects are checked like URLs. Behind a proxy
// (HTTP_PROXY and so on), only the proxy knows the addresses, so only names are
// checked.
type Policy struct {
	Schemes []string // of file, http, https, oci; empty: all
	// Hosts are the allowed hosts of http, https and oci URLs, including
	// redirects and token services of registries: names, with a leading "*."
	// for all subdomains, or IP addresses or prefixes, each with an optional
	// port. docker.io includes the host that serves it. Empty: all.
	Hosts []string
	// Roots are the folders that file URLs may refer to; nil: everywhere.
	Roots *files.Roots
	// RootCAs are the authorities for https and oci origins; nil: the system's.
	RootCAs *x509.CertPool
	// LinkLocal allows addresses that are otherwise denied: link-local,
	// metadata, multicast, reserved, shared (100.64.0.0/10), and those that
	// embed one.
	LinkLocal bool
}

// Validate checks that a policy is well-formed.
func (p Policy) Validate() error {
	for _, scheme := range p.Schemes {
		if !slices.Contains([]string{"file", "http", "https", "oci"}, scheme) {
			return fmt.Errorf("module origins: unknown scheme %q; use file, http, https or oci", scheme)
		}
	}
	for _, pattern := range p.Hosts {
		name, port := splitPort(strings.TrimPrefix(pattern, "*."))
		if _, err := netip.ParsePrefix(name); err == nil {
			continue
		}
		if name == "" || strings.ContainsAny(name, "*/@ ") || strings.Trim(port, "0123456789") != "" {
			return fmt.Errorf("module origins: host %q is not a name, *.name, address or prefix", pattern)
		}
	}
	return nil
}

// CheckURL returns an error if modules may not come from a URL.
func (p Policy) CheckURL(raw string) error {
	u, err := url.Parse(definition.ImageURL(raw))
	if err != nil {
		return &ContentError{Message: fmt.Sprintf("module URL: %s is none", definition.MaskURL(raw))}
	}
	return p.check(u)
}

func (p Policy) check(u *url.URL) error {
	if len(p.Schemes) > 0 && !slices.Contains(p.Schemes, u.Scheme) {
		return refusal("modules may not come from %s URLs, only %s", u.Scheme, strings.Join(p.Schemes, ", "))
	}
	if u.Scheme == "file" {
		return nil
	}
	return p.checkHost(u.Scheme, u.Host)
}

// holds reports whether file URLs may refer to a folder.
func (p Policy) holds(dir string) bool {
	if p.Roots == nil {
		return true
	}
	_, err := p.Roots.Real(dir)
	return err == nil
}

func (p Policy) checkHost(scheme, hostport string) error {
	if scheme == "oci" && hostport == definition.DockerHub {
		hostport = definition.DockerHubHost // the actual host
	}
	host, port := splitPort(hostport)
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "oci": "443"}[scheme]
	}
	addr, err := netip.ParseAddr(host)
	if err == nil {
		if err := p.checkAddr(addr); err != nil {
			return err
		}
	}
	if len(p.Hosts) == 0 {
		return nil
	}
	for _, pattern := range p.Hosts {
		if matchHost(pattern, strings.ToLower(strings.TrimSuffix(host, ".")), port, addr.Unmap()) {
			return nil
		}
	}
	return refusal("modules may not come from %s, only from %s", hostport, strings.Join(p.Hosts, ", "))
}

func matchHost(pattern, host, port string, addr netip.Addr) bool {
	name, wantPort := splitPort(strings.ToLower(pattern))
	if wantPort != "" && wantPort != port {
		return false
	}
	if prefix, err := netip.ParsePrefix(name); err == nil {
		return addr.IsValid() && prefix.Contains(addr)
	}
	if below, ok := strings.CutPrefix(name, "*."); ok {
		return strings.HasSuffix(host, "."+below)
	}
	return name == host || name == definition.DockerHub && host == definition.DockerHubHost
}

// splitPort splits host and port. Either may be missing. An IPv6 address
// without a port loses its brackets.
func splitPort(hostport string) (host, port string) {
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		return h, p
	}
	return strings.Trim(hostport, "[]"), ""
}

func (p Policy) checkAddr(addr netip.Addr) error {
	if p.LinkLocal {
		return nil
	}
	if a, what := refusedAs(addr); what != "" {
		return refusal("modules may not come from %v, %s", a, what)
	}
	return nil
}

func refusal(format string, args ...any) error {
	return &ContentError{Message: fmt.Sprintf(format, args...), Hint: "--module-schemes, --module-hosts and --module-link-local say where modules may come from"}
}

// control is for net.Dialer.Control: it checks the resolved address.
func (p Policy) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check address %s: %w", address, err)
	}
	return p.checkAddr(at.Addr())
}

// Transport returns a transport that enforces the policy for addresses. The
// caller must close its idle connections at the end.
func (p Policy) Transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: p.control}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{RootCAs: p.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// CheckRequest returns a RoundTripper that checks each request, including
// redirects, before it is sent.
func (p Policy) CheckRequest(next http.RoundTripper) http.RoundTripper {
	return &checked{p, next}
}

type checked struct {
	policy Policy
	next   http.RoundTripper
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (c *checked) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.policy.checkHost(r.URL.Scheme, r.URL.Host); err != nil {
		return nil, err
	}
	return c.next.RoundTrip(r)
}
