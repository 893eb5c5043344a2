package resource

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
)

// Pair is what a listener with TLS is served by: a certificate and its key, that go
// together. Immutable.
type Pair struct {
	Chain, Key []byte // PEM; none: it was never good
	ClientCA   []byte // of those that clients need a certificate of; none: they need none

	Trouble string // why what is there now is not used; "": it is
	Warning string // what will be wrong
}

// good says whether the listener can be served by it.
func (p *Pair) good() bool { return p != nil && len(p.Chain) > 0 }

// problems are what is wrong with it, where the listener is written.
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

// pairs are those of the listeners of a set.
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

// same says whether all has the same for a view's listeners.
func (p pairs) same(all map[*definition.Listener]*Pair) bool {
	for l, pair := range p {
		if pair != all[l] {
			return false
		}
	}
	return true
}

// source is what a listener is compiled of.
func (p pairs) source(l *definition.Listener) any {
	if l.TLS == nil {
		return l
	}
	return struct {
		*definition.Listener
		*Pair
	}{l, p[l]}
}

// withheld are the listeners that have none. An Envoy that has such a listener, as it
// was, keeps it, and one that starts waits, as for a filter without a module.
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

// secretNames are what a listener's secrets are called: its certificate, and whom its
// clients are to be certified by. They stay when what is in them changes.
func secretNames(listener string) (own, clients string) {
	return definition.TLSPrefix + listener, definition.TLSPrefix + listener + "/clients"
}

// downstreamTLS shows a certificate that comes by SDS.
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

// secrets are those of a listener whose pair is good.
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

// tls is what a listener is by it; where that is read from is no part of it.
func (m *meaning) tls(t *definition.TLS) *meaning {
	if t != nil {
		m.flag("tls", true).flag("clients", t.Clients())
	}
	return m
}
