package bootstrap

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// TLS is how an Envoy authenticates itself and xds-server. All paths are those
// on the Envoy's machine.
type TLS struct {
	CA         string // file of the authorities for xds-server's certificate
	Cert, Key  string // files of the Envoy's own certificate; "": it has none
	ServerName string // sent by SNI; "": the host of the address, if it is a name
	SAN        string // subject of xds-server's certificate: a DNS name, IP address or URI (spiffe://…); "": ServerName, or the host of any address

	// SecretsDir is the folder for the files of Secrets. If it is set, Envoy
	// reloads certificates when they are renamed into place (or their folder is
	// swapped, as Kubernetes does). Otherwise, Envoy reads them once, at its
	// start.
	SecretsDir string
}

// The files in SecretsDir, and the secrets in them.
const (
	certFile, certSecret = "wasmxds-certificate.yaml", "wasmxds-certificate"
	caFile, caSecret     = "wasmxds-ca.yaml", "wasmxds-ca"
)

// Secrets returns the files to put into SecretsDir, by name: Envoy only reloads
// certificates that are referenced in a separate file.
func (t *TLS) Secrets() (map[string][]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	ca := t.ca()
	ca.WatchedDirectory = &corev3.WatchedDirectory{Path: path.Dir(t.CA)}
	secrets := map[string]*tlsv3.Secret{
		caFile: {Name: caSecret, Type: &tlsv3.Secret_ValidationContext{ValidationContext: ca}},
	}
	if t.Cert != "" {
		cert := t.certificate()
		cert.WatchedDirectory = &corev3.WatchedDirectory{Path: path.Dir(t.Cert)}
		secrets[certFile] = &tlsv3.Secret{Name: certSecret, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: cert}}
	}
	files := map[string][]byte{}
	for name, s := range secrets {
		packed, err := pack(s)
		if err != nil {
			return nil, err
		}
		if files[name], err = toYAML(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{packed}}); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (t *TLS) check() error {
	switch {
	case t.CA == "":
		return errors.New("TLS to xds-server needs a CA to know it by")
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("TLS to xds-server needs both the certificate and its key, or neither")
	}
	return nil
}

func (t *TLS) ca() *tlsv3.CertificateValidationContext {
	return &tlsv3.CertificateValidationContext{TrustedCa: file(t.CA)}
}

func (t *TLS) certificate() *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{CertificateChain: file(t.Cert), PrivateKey: file(t.Key)}
}

func file(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
}

// socket returns a transport socket for TLS that accepts only xds-server at
// these addresses.
func (t *TLS) socket(at []address, alpn string) (*corev3.TransportSocket, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	tls := &tlsv3.UpstreamTlsContext{Sni: t.ServerName}
	var hosts []string // possible subjects of its certificate
	for _, a := range at {
		if !slices.Contains(hosts, a.host) {
			hosts = append(hosts, a.host)
		}
	}
	if t.ServerName == "" && !areIPs(at) { // RFC 6066: no addresses in SNI
		if tls.Sni = hosts[0]; len(hosts) > 1 {
			tls.Sni, tls.AutoHostSni = "", true
		}
	}
	switch {
	case t.SAN != "":
		hosts = []string{t.SAN}
	case t.ServerName != "":
		hosts = []string{t.ServerName}
	}
	common := &tlsv3.CommonTlsContext{AlpnProtocols: []string{alpn}}
	var match []*tlsv3.SubjectAltNameMatcher
	for _, san := range hosts {
		match = append(match, &tlsv3.SubjectAltNameMatcher{
			SanType: sanType(san),
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: san}},
		})
	}
	if t.SecretsDir == "" {
		ca := t.ca()
		ca.MatchTypedSubjectAltNames = match
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: ca}
		if t.Cert != "" {
			common.TlsCertificates = []*tlsv3.TlsCertificate{t.certificate()}
		}
	} else {
		common.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: match},
				ValidationContextSdsSecretConfig: t.secret(caSecret, caFile),
			},
		}
		if t.Cert != "" {
			common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{t.secret(certSecret, certFile)}
		}
	}
	tls.CommonTlsContext = common
	config, err := pack(tls)
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}, nil
}

func (t *TLS) secret(name, file string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: path.Join(t.SecretsDir, file)},
		},
		ResourceApiVersion: corev3.ApiVersion_V3,
	}}
}

func sanType(san string) tlsv3.SubjectAltNameMatcher_SanType {
	if _, err := netip.ParseAddr(san); err == nil {
		return tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	if strings.Contains(san, "://") {
		return tlsv3.SubjectAltNameMatcher_URI
	}
	return tlsv3.SubjectAltNameMatcher_DNS
}
