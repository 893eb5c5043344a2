package signed

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/module"
	"wasmxds/module/signed/signedtest"
)

// TestRequired checks that a URL that must be signed is recognized in any
// notation.
func TestRequired(t *testing.T) {
	for glob, urls := range map[string]map[string]bool{
		"*": {"oci://a/b": true, "http://a/b.wasm": true, "file:///a.wasm": true},
		"oci://registry.example.com/*": {
			"oci://registry.example.com/a:v1": true, "oci://REGISTRY.example.com/a": true, "oci://registry.example.com:443/a": true,
			"oci://registry.example.com./a": true, "oci://registry.example.com.:443/a": true, "oci://x@registry.example.com/a": true,
			"oci://registry.example.com.evil.org/a": false, "oci://other.example.com/registry.example.com/a": false, "https://registry.example.com/a": false,
		},
		"oci://docker.io/acme/*": {"oci://acme/filter:v1": true, "oci://index.docker.io/acme/filter": true, "oci://registry-1.docker.io/acme/filter": true, "oci://docker.io/other/a": false},
		"oci://[::1]:5000/*":     {"oci://[0:0:0:0:0:0:0:1]:5000/a": true},
		"oci://r/acme/filters*":  {"oci://r/acme/filters/a": true, "oci://r/acme/other": false},
		"https://modules.acme/*": {"https://modules.acme:443/a.wasm": true},
	} {
		for url, want := range urls {
			if got := (Policy{Required: []string{glob}}).requires(url); got != want {
				t.Errorf("%s, %s: %v, want %v", glob, url, got, want)
			}
		}
	}
}

// TestOf checks that a module that can't be signed, or a key that can't be
// read, is an error.
func TestOf(t *testing.T) {
	key := signedtest.NewKey(t)
	dir := t.TempDir()
	roots, err := files.NewRoots(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		policy Policy
		url    string
		by     *definition.Signed
		want   string
	}{
		"http":              {Policy{Required: []string{"*"}, By: &definition.Signed{Keys: []string{key.Public}}}, "http://a/b.wasm", nil, "http://a/b.wasm must be signed"},
		"file":              {Policy{Required: []string{"*"}, By: &definition.Signed{Keys: []string{key.Public}}}, "file:///a.wasm", nil, "must be signed"},
		"secret in the URL": {Policy{Required: []string{"*"}}, "https://user:secret@a/b.wasm", nil, "https://"},
		"no key":            {Policy{}, "oci://a/b", &definition.Signed{Keys: []string{"-----BEGIN"}}, "not a public key"},
		"no root":           {Policy{}, "oci://a/b", &definition.Signed{Identity: "a", Issuer: "b", Root: "{}"}, "no trusted root"},
		"key elsewhere":     {Policy{Roots: &roots}, "oci://a/b", &definition.Signed{Keys: []string{"file:///etc/hostname"}}, "outside of"},
		"key not there":     {Policy{Roots: &roots}, "oci://a/b", &definition.Signed{Keys: []string{definition.FileURL(filepath.Join(dir, "cosign.pub"))}}, "no such file"},
	} {
		if _, err := test.policy.Of(test.url, test.by); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	r, err := Policy{}.Of("oci://a/b", nil)
	if r != nil || err != nil {
		t.Errorf("%v, %v", r, err)
	}
}

// FuzzVerify checks that, whatever a registry has, nothing counts as signed by
// a key that has signed nothing, and nothing panics.
func FuzzVerify(f *testing.F) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	key, authority := signedtest.NewKey(f), signedtest.NewAuthority(f)
	payload, statement := signedtest.Payload(digest), signedtest.Statement(digest, signedtest.SignPredicate)
	for _, s := range []module.Signature{
		key.Cosign(payload), key.Bundle(statement), authority.Cosign(payload, "a@b", "https://c", 60e9), authority.Bundle(statement, "a@b", "https://c", 60e9),
	} {
		f.Add(s.Bundle, s.Payload, s.Signature, s.Certificate, s.Chain, s.Log)
	}
	f.Add([]byte(nil), payload, base64.StdEncoding.EncodeToString([]byte("x")), "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "", `{"Payload":{"body":"e30="}}`)
	stranger, strangers := signedtest.NewKey(f), signedtest.NewAuthority(f)
	var all []module.Requirement
	for _, by := range []*definition.Signed{
		{Keys: []string{stranger.Public}}, {Keys: []string{stranger.Public}, Root: strangers.Root(false)},
		{Identity: "*", Issuer: "https://c", Root: strangers.Root(false)}, {Identity: "*", Issuer: "https://c", Root: strangers.Root(true)},
	} {
		r, err := Policy{}.Of("oci://a/b", by)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, r)
	}
	f.Fuzz(func(t *testing.T, bundle, payload []byte, signature, certificate, chain, log string) {
		for _, r := range all {
			s := module.Signature{Bundle: bundle, Payload: payload, Signature: signature, Certificate: certificate, Chain: chain, Log: log}
			if who, err := r.Verify(digest, []module.Signature{s}); err == nil {
				t.Fatalf("signed by %s", who)
			} else if len(err.Error()) > 1000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
		}
	})
}
