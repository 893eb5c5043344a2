package pipeline

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
)

// TestWhereJudgesAre checks that judges may have the addresses that modules may
// come from, with the same trusted authorities; the allowed hosts and schemes
// of modules don't apply to them.
func TestWhereJudgesAre(t *testing.T) {
	good := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"verdict": "good"}`) })
	plain, secure := httptest.NewServer(good), httptest.NewTLSServer(good)
	defer plain.Close()
	defer secure.Close()
	p := module.Policy{Hosts: []string{"registry.example"}, Schemes: []string{"oci"}, RootCAs: x509.NewCertPool()}
	p.RootCAs.AddCert(secure.Certificate())
	j := newJudges(p)
	defer j.end()
	for url, want := range map[string]struct {
		verdict rollout.Verdict
		words   string
	}{
		plain.URL:  {rollout.Good, ""},
		secure.URL: {rollout.Good, ""},
		// Without an attempt to connect, which a proxy would make, if any.
		"http://169.254.169.254/latest": {rollout.Unable, "ask 169.254.169.254: modules may not come from 169.254.169.254"},
		"https://[fe80::1]/":            {rollout.Unable, "ask [fe80::1]: modules may not come from fe80::1"},
	} {
		verdict, words := j.Ask(t.Context(), rollout.Look{Policy: &definition.Rollout{}, Ask: &definition.Judge{Webhook: &definition.WebhookJudge{URL: url}}})
		if verdict != want.verdict || !strings.HasPrefix(words, want.words) {
			t.Errorf("of %s: %s, %q; want %s, %q", url, verdict, words, want.verdict, want.words)
		}
	}
}
