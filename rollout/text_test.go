package rollout

import (
	"encoding/json"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestSecretTexts checks that a change of a filter whose configuration comes
// from a Secret shows that there is another value, and none of the values, after
// a restart as well.
func TestSecretTexts(t *testing.T) {
	item := func(value string) *Item {
		t.Helper()
		set := read(t, "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\nconfig: "+value+"\n")
		set.Filters[0].Definition.ConfigSecret = &definition.SecretKey{Name: "keys", Key: "json"}
		c, err := contentOf(set.Filters[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		i, err := readItem(b)
		if err != nil {
			t.Fatal(err)
		}
		if i.Value.(*module.Filter).Definition.Config == nil {
			t.Fatal("the configuration was not stored")
		}
		return i
	}
	one, two := item("canary-1"), item("canary-2")
	for _, c := range []struct {
		from, to *Item
		changed  bool
	}{{one, two, true}, {nil, one, false}, {one, nil, false}, {one, item("canary-1"), false}} {
		key := Key{FilterKind, "hello"}
		made := (&texts{diffs: []diff{{Key: key, From: c.from, To: c.to}}}).all()
		b, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); strings.Contains(s, "canary") || !strings.Contains(s, "configFrom") || strings.Contains(s, "another one than before") != c.changed {
			t.Errorf("%s", s)
		}
	}
}

// TestSecretResource checks that a change of a raw Secret shows no private key.
func TestSecretResource(t *testing.T) {
	secret := func(key string) *Item {
		t.Helper()
		set := read(t, "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\nname: k\n"+
			"tls_certificate: {certificate_chain: {inline_string: chain}, private_key: {inline_string: "+key+"}}\n")
		i, err := itemOf(set.Resources[0])
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	from, to := (&diff{From: secret("canary-1"), To: secret("canary-2")}).texts()
	if strings.Contains(from+to, "canary") || from == to || !strings.Contains(to, "name: k") {
		t.Errorf("%s\n%s", from, to)
	}
}

// TestSecretInResource checks that a change of a raw listener shows no private key in it,
// and that it shows that there is another one.
func TestSecretInResource(t *testing.T) {
	listener := func(key string) *Item {
		t.Helper()
		set := read(t, "'@type': type.googleapis.com/envoy.config.listener.v3.Listener\nname: web\n"+
			"address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n"+
			"filter_chains:\n- transport_socket:\n    name: tls\n    typed_config:\n"+
			"      '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n"+
			"      common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: chain}, private_key: {inline_string: "+key+"}}]}\n"+
			"  filters:\n  - name: tcp\n    typed_config:\n"+
			"      '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n"+
			"      stat_prefix: tcp\n      cluster: c\n")
		i, err := itemOf(set.Resources[0])
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	from, to := (&diff{From: listener("canary-1"), To: listener("canary-2")}).texts()
	if strings.Contains(from+to, "canary") || !strings.Contains(from, "[redacted]") || !strings.Contains(to, "another one than before") {
		t.Errorf("%s\n%s", from, to)
	}
	if from, to := (&diff{From: listener("canary-1"), To: listener("canary-1")}).texts(); from != to {
		t.Errorf("%s\n%s", from, to)
	}
}
