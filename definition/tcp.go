package definition

import "wasmxds/definition/internal/document"

// tcp describes where a TCP listener sends connections.
type tcp struct {
	Upstream  string     `json:"upstream,omitempty" jsonschema_description:"host:port of the only upstream."`
	TLS       bool       `json:"tls,omitempty" jsonschema_description:"Speak TLS with the upstream."`
	Upstreams []upstream `json:"upstreams,omitempty" jsonschema_description:"Upstreams with more than an address, or several, in place of upstream and tls."`
}

// TCP describes where a listener sends connections, whose bytes it does not
// interpret.
type TCP struct{ Upstreams []Upstream }

func (d *Doc) tcp(t *tcp) *TCP {
	for i, u := range t.Upstreams {
		if u.Protocol != "" {
			d.Problem(document.Index("tcp.upstreams", i)+".protocol", "", "is for routes: the bytes of a connection are passed on as they are")
		}
	}
	return &TCP{d.upstreams("tcp", route{Upstream: t.Upstream, TLS: t.TLS, Upstreams: t.Upstreams})}
}

// convertTCP is the inverse of Doc.tcp.
func convertTCP(t *TCP) *tcp {
	if t == nil {
		return nil
	}
	made := &tcp{}
	made.Upstream, made.TLS, made.Upstreams = convertUpstreams(t.Upstreams)
	return made
}
