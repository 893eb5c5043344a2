package definition_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"wasmxds/definition"
)

// TestRedact checks that private keys are masked however deep they are packed, and that
// everything else stays as it is.
func TestRedact(t *testing.T) {
	const listener = `{"name":"web","filterChains":[{"transportSocket":{"name":"tls","typedConfig":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		"commonTlsContext":{"tlsCertificates":[
			{"certificateChain":{"inlineString":"chain"},"privateKey":{"inlineString":"canary-1"},"password":{"inlineBytes":"Y2FuYXJ5LTI="}},
			{"certificateChain":{"filename":"a.crt"},"privateKey":{"filename":"a.key"}}]},
		"sessionTicketKeys":{"keys":[{"inlineString":"canary-3"},{"environmentVariable":"KEY"}]}}}}]}`
	m := &listenerv3.Listener{}
	if err := protojson.Unmarshal([]byte(listener), m); err != nil {
		t.Fatal(err)
	}
	before := proto.Clone(m)
	shown, secrets := definition.Redact(m)
	if !proto.Equal(m, before) {
		t.Error("the message was modified")
	}
	slices.Sort(secrets)
	if want := []string{"canary-1", "canary-2", "canary-3"}; !slices.Equal(secrets, want) {
		t.Errorf("secrets %q, want %q", secrets, want)
	}
	b, err := protojson.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"web", "chain", "a.crt", "a.key", "KEY"} {
		if !strings.Contains(string(b), `"`+word+`"`) {
			t.Errorf("without %s: %s", word, b)
		}
	}
	if n := strings.Count(string(b), "[redacted]"); n != 3 || strings.Contains(string(b), "canary") {
		t.Errorf("%d are masked: %s", n, b)
	}
}

// TestRedactNothing checks that a message without secrets stays the same, byte for byte.
func TestRedactNothing(t *testing.T) {
	m := &tlsv3.Secret{Name: "ca", Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{}}}
	shown, secrets := definition.Redact(m)
	if !proto.Equal(m, shown) || len(secrets) > 0 {
		t.Errorf("%v, %q", shown, secrets)
	}
}
