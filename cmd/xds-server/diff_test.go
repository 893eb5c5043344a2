package main

import (
	"strings"
	"testing"
)

// TestDiffShowsNoSecrets checks that no form in which a document may have a private key is
// left in what "diff" prints, and everything else is.
func TestDiffShowsNoSecrets(t *testing.T) {
	const head = "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\nname: web\ntls_certificate:\n  certificate_chain: {inline_string: chain}\n"
	for _, key := range []string{
		"  private_key: {inline_string: canary-123456}\n",
		"  private_key: {inline_string: canary}\n",
		"  private_key:\n    inline_string: |\n      -----BEGIN KEY-----\n      canary0123456789\n      -----END KEY-----\n",
		"  private_key: {inline_string: \"-----BEGIN KEY-----\\ncanary0123456789\\n-----END KEY-----\\n\"}\n",
		"  private_key: {inline_bytes: Y2FuYXJ5LTEyMzQ1Ng==}\n", // canary-123456
	} {
		got := masked("web", head+key)
		if strings.Contains(got, "canary") || strings.Contains(got, "Y2Fu") || !strings.Contains(got, "[redacted]") || !strings.HasPrefix(got, head) {
			t.Errorf("%s became\n%s", key, got)
		}
	}
	if plain := "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\n"; masked("hello", plain) != plain {
		t.Errorf("%s", masked("hello", plain))
	}
}
