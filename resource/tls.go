package resource

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
)

// Pair is the certificate and the matching key of a listener with TLS. It is
// immutable.
type Pair struct {
	Chain, Key []byte // PEM; empty: never valid so far
	ClientCA   []byte // authorities for clients' certificates; empty: clients need none

	Trouble string // why the current files are not used; "": they are
	Warning string // what will become a problem
}

// good reports whether the listener can be served with the pair.
func (p *Pair) good() bool { return p != nil && len(p.Chain) > 0 }

// problems returns the problems with the pair, at the position of the listener.
func (p *Pair) problems(d *definition.Listener) []definition.Problem {
	if p == nil {
		return nil
	}
	var all []definition.Problem
	if p.Trouble != "" {
		found := problem(d.Pos, "tls", "listener %s: %s", d.Name, p.Trouble)
		if p.good() {
			found.Hint = "the certificate before stays in use"
		}
		all = append(all, found)
	}
	if p.Warning != "" {
		found := problem(d.Pos, "tls", "listener %s: %s", d.Name, p.Warning)
		found.Warning = true
		all = append(all, found)
	}
	return all
}

// pairs are the pairs of the listeners of a set.
type pairs map[*definition.Listener]*Pair

func pairsOf(listeners []*definition.Listener, all map[*definition.Listener]*Pair) pairs {
	var own pairs
	for _, l := range listeners {
		if l.TLS != nil {
			if own == nil {
				own = pairs{}
			}
			own[l] = all[l]
		}
	}
	return own
}

// same reports whether all has the same pairs for these listeners.
func (p pairs) same(all map[*definition.Listener]*Pair) bool {
	for l, pair := range p {
		if pair != all[l] {
			return false
		}
	}
	return true
}

// source returns the identity of what a listener is compiled from.
func (p pairs) source(l *definition.Listener) any {
	if l.TLS == nil {
		return l
	}
	return struct {
		*definition.Listener
		*Pair
	}{l, p[l]}
}

// withheld returns the listeners without a pair. An Envoy that has such a
// listener keeps it unchanged, and one that starts waits, as for a filter
// without a module.
func (p pairs) withheld(listeners []*definition.Listener) []definition.Withheld {
	var all []definition.Withheld
	for _, l := range listeners {
		if l.TLS == nil || p[l].good() {
			continue
		}
		why := "its certificate is not known yet"
		if p[l] != nil {
			why = p[l].Trouble
		}
		all = append(all, definition.Withheld{Listener: l.Name, Pos: l.Pos, By: []*definition.Hole{{
			Kind: "TLS of Listener", Name: l.Name, Pos: l.Pos, OnFailure: definition.Closed,
			Attach: definition.Attach{Nodes: l.Nodes}, Cause: problem(l.Pos, "tls", "%s", why),
		}}})
	}
	return all
}

// secretNames returns the names of a listener's secrets: its certificate, and
// the authorities of its clients. The names stay the same when the content
// changes.
func secretNames(listener string) (own, clients string) {
	return definition.TLSPrefix + listener, definition.TLSPrefix + listener + "/clients"
}

// downstreamTLS returns the TLS context of a listener whose certificate comes
// by SDS.
func downstreamTLS(d *definition.Listener) (*corev3.TransportSocket, error) {
	own, clients := secretNames(d.Name)
	common := &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: own, SdsConfig: ads()}},
	}
	if d.TCP == nil {
		common.AlpnProtocols = []string{"h2", "http/1.1"}
	}
	m := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if d.TLS.Clients() {
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: clients, SdsConfig: ads()},
		}
		m.RequireClientCertificate = wrapperspb.Bool(true)
	}
	config, err := pack(m)
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config}}, nil
}

// secrets returns the secrets of a listener whose pair is good.
func secrets(d *definition.Listener, p *Pair) ([]*Resource, error) {
	if d.TLS == nil || !p.good() {
		return nil, nil
	}
	own, clients := secretNames(d.Name)
	inline := func(b []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
	}
	certificate, err := check(SecretType, own, &tlsv3.Secret{Name: own, Type: &tlsv3.Secret_TlsCertificate{
		TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inline(p.Chain), PrivateKey: inline(p.Key)},
	}})
	if err != nil || !d.TLS.Clients() {
		return []*Resource{certificate}, err
	}
	if len(p.ClientCA) == 0 {
		return nil, fmt.Errorf("tls: no authority for clients")
	}
	trusted, err := check(SecretType, clients, &tlsv3.Secret{Name: clients, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(p.ClientCA)},
	}})
	return []*Resource{certificate, trusted}, err
}

// tls adds a listener's TLS to its meaning, except where certificates are read
// from.
func (m *meaning) tls(t *definition.TLS) *meaning {
	if t != nil {
		m.flag("tls", true).flag("clients", t.Clients())
	}
	return m
}
