package definition_test

import (
	"testing"

	"wasmxds/definition"
)

// TestTLSOfANamespace checks that an object can name Secrets of its own
// namespace, and no files.
func TestTLSOfANamespace(t *testing.T) {
	const listener = `{"apiVersion": "wasmxds.dev/v1alpha1", "kind": "Listener", "metadata": {"name": "web", "namespace": "shop"},
		"spec": {"address": "0.0.0.0:443", "tls": %, "routes": [{"prefix": "/", "upstream": "a:1"}]}}`
	read := func(tls string) *definition.TLS {
		file := parser.ReadObject("it", definition.Scope{Namespace: "shop"}, []byte(replaced(listener, tls))).File
		if file == nil {
			return nil
		}
		return file.Listeners[0].TLS
	}
	if got := read(`{"secret": "web", "clientSecret": "ca"}`); got == nil || *got != (definition.TLS{Secret: "shop/web", ClientSecret: "shop/ca"}) {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{`{}`, `{"cert": "/a", "key": "/b"}`, `{"secret": "a", "clientCA": "/b"}`, `{"secret": "other/a"}`, `{"secret": ".."}`, `{"secret": "a", "clientSecret": "b/c"}`} {
		if got := read(bad); got != nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

func replaced(text, with string) string {
	for i := range text {
		if text[i] == '%' {
			return text[:i] + with + text[i+1:]
		}
	}
	return text
}

// TestTLSFromEtcd checks that a document without a folder names files by
// absolute paths.
func TestTLSFromEtcd(t *testing.T) {
	for tls, good := range map[string]bool{`{cert: a, key: b}`: false, `{cert: /a, key: /b}`: true, `{cert: /a, key: /b, clientCA: c}`: false} {
		p := parser.ReadFrom("web", "", []byte("kind: Listener\nname: web\naddress: 0.0.0.0:443\ntls: "+tls+"\nroutes: [{prefix: /, upstream: 'a:1'}]\n"))
		if (p.File != nil) != good {
			t.Errorf("%s: %v", tls, p.Problems)
		}
	}
}
