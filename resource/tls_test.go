package resource

import (
	"bytes"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestTLS checks that a listener is withheld until it has a certificate, which
// is sent only to the nodes with the listener, and that a renewal changes
// nothing else.
func TestTLS(t *testing.T) {
	web := &definition.Listener{Name: "web", Address: "127.0.0.1:443", Nodes: definition.Selector{IDs: []string{"edge-*"}},
		TLS:    &definition.TLS{Cert: "a", Key: "b", ClientCA: "c"},
		Routes: []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}}
	set := &module.Set{Listeners: []*definition.Listener{web}}
	edge, other := definition.Node{ID: "edge-1"}, definition.Node{ID: "other"}
	compile := func(prev *Catalog, p *Pair) (*Catalog, Problems) {
		return Compile(prev, Sets{Base: set, Pairs: map[*definition.Listener]*Pair{web: p}}, opts)
	}
	c, _ := compile(nil, nil)
	s := c.Snapshot(edge, "")
	if len(s.Secrets) != 0 || len(s.Filters) != 1 || !strings.Contains(s.Filters[0].Missing, "not known yet") {
		t.Errorf("without a certificate: %+v", s)
	}
	if s := c.Snapshot(other, ""); len(s.Filters)+len(s.Listeners) != 0 {
		t.Error("another node waits for it")
	}
	c, problems := compile(c, &Pair{Trouble: "key: is gone"})
	if s := c.Snapshot(edge, ""); len(s.Filters) != 1 || !strings.Contains(s.Filters[0].Missing, "key: is gone") {
		t.Errorf("%+v", s)
	}
	if len(problems.Base) != 1 || problems.Base[0].Warning || problems.Base[0].Field != "tls" {
		t.Errorf("%v", problems.Base)
	}
	one := &Pair{Chain: []byte("one"), Key: []byte("first key"), ClientCA: []byte("ca")}
	c, problems = compile(c, one)
	first := c.Snapshot(edge, "")
	if len(first.Secrets) != 2 || len(first.Filters) != 0 || len(problems.Base) != 0 {
		t.Fatalf("%+v %v", first, problems)
	}
	if again, _ := compile(c, one); again.Snapshot(edge, "") != first {
		t.Error("the same certificate gives another snapshot")
	}
	c, problems = compile(c, &Pair{Chain: []byte("two"), Key: []byte("second key"), ClientCA: []byte("ca"), Trouble: "x", Warning: "y"})
	second := c.Snapshot(edge, "")
	if second.Listeners[0].Version != first.Listeners[0].Version || !bytes.Equal(second.Listeners[0].Value, first.Listeners[0].Value) {
		t.Error("a renewed certificate changes the listener")
	}
	if second.Secrets[0].Name != first.Secrets[0].Name || second.Secrets[0].Version == first.Secrets[0].Version || second.Secrets[1].Version != first.Secrets[1].Version {
		t.Error("the secrets are not the certificate that changed alone")
	}
	if len(problems.Base) != 2 {
		t.Errorf("%v", problems.Base)
	}
	if len(c.Snapshot(other, "").Secrets) != 0 {
		t.Error("a node without the listener has its key")
	}
	valid(t, second)
	text, err := Render(second, YAML)
	if err != nil || !strings.Contains(string(text), definition.TLSPrefix+"web") {
		t.Errorf("%s %v", text, err)
	}
}

// TestTLSOfTCP checks that TCP listeners are served in the same way, except for
// what concerns HTTP.
func TestTLSOfTCP(t *testing.T) {
	raw := &definition.Listener{Name: "raw", Address: "127.0.0.1:443", TLS: &definition.TLS{Cert: "a", Key: "b"},
		TCP: &definition.TCP{Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}
	set := &module.Set{Listeners: []*definition.Listener{raw}}
	c, _ := Compile(nil, Sets{Base: set}, opts)
	if s := c.Snapshot(definition.Node{}, ""); len(s.Filters) != 1 || len(s.Listeners) != 1 || len(s.Listeners[0].Filters) != 1 {
		t.Errorf("without a certificate it waits for nothing: %+v", s)
	}
	c, problems := Compile(c, Sets{Base: set, Pairs: map[*definition.Listener]*Pair{raw: {Chain: []byte("one"), Key: []byte("key")}}}, opts)
	s := c.Snapshot(definition.Node{}, "")
	text, err := Render(s, YAML)
	if err != nil || len(problems.Base) != 0 || len(s.Secrets) != 1 || !strings.Contains(string(text), "DownstreamTlsContext") || strings.Contains(string(text), "alpn") {
		t.Errorf("%v %v\n%s", err, problems, text)
	}
}
