package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/signed"
	"wasmxds/module/signed/signedtest"
)

const (
	someone  = "release@example.com"
	provider = "https://issuer.example.com"
	soon     = time.Minute // after the certificate
)

// signing is a registry, with valid and invalid signers.
type signing struct {
	*hub
	t                 *testing.T
	good, bad         *signedtest.Key
	authority, others *signedtest.Authority
	images            map[string]v1.Image // by seed
}

func newSigning(t *testing.T, wrap func(http.Handler) http.Handler) *signing {
	return &signing{newHub(t, false, wrap), t, signedtest.NewKey(t), signedtest.NewKey(t),
		signedtest.NewAuthority(t), signedtest.NewAuthority(t), map[string]v1.Image{}}
}

// image returns a module in an artifact, which depends on the seed.
func (s *signing) image(seed string) v1.Image {
	s.t.Helper()
	if i := s.images[seed]; i != nil {
		return i
	}
	b, err := os.ReadFile("../dryrun/testdata/filter.wasm")
	if err != nil {
		s.t.Fatal(err)
	}
	custom := append([]byte{0, byte(5 + len(seed)), 4}, "seed"...)
	b = append(append(b, custom...), seed...)
	i, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer(b, wasmTypes()[0]), MediaType: wasmTypes()[0]})
	if err != nil {
		s.t.Fatal(err)
	}
	s.images[seed] = i
	return i
}

func (s *signing) digest(seed string) string {
	d, err := s.image(seed).Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return d.String()
}

// sum returns the SHA-256 of the module in an image.
func (s *signing) sum(seed string) string {
	layers, err := s.image(seed).Layers()
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Hex
}

func (s *signing) sign(digest string, signatures ...module.Signature) {
	s.t.Helper()
	signedtest.Push(s.t, s.client, s.host+"/filters/hello", digest, signatures...)
}

// publish moves the tag and returns its URL.
func (s *signing) publish(seed string) string {
	s.t.Helper()
	return s.push(s.t, "filters/hello:v1", s.image(seed))
}

func (s *signing) byKey() *definition.Signed {
	return &definition.Signed{Keys: []string{s.good.Public}}
}

func (s *signing) byIdentity() *definition.Signed {
	return &definition.Signed{Identity: someone, Issuer: provider, Root: s.authority.Root(false)}
}

// resolver is a server with the filter hello.
type resolver struct {
	t       *testing.T
	updates chan *definition.Set
	sets    chan *module.Set
	last    *module.Set
	stop    func()
}

func (s *signing) resolve(options module.Options) *resolver {
	s.t.Helper()
	if options.Store == nil {
		store, err := module.Open(s.t.TempDir())
		if err != nil {
			s.t.Fatal(err)
		}
		options.Store = store
	}
	if options.Signatures == nil {
		options.Signatures = signed.Policy{}
	}
	fetcher := New(Options{Keychain: authn.NewMultiKeychain()})
	options.Fetchers = map[string]module.Fetcher{"oci": fetcher}
	options.Poll = 5 * time.Millisecond
	options.BackOff = func() module.BackOff { return backoff.NewConstantBackOff(5 * time.Millisecond) }
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &resolver{t: s.t, updates: make(chan *definition.Set, 1), sets: make(chan *module.Set, 1000)}
	ended := make(chan error)
	go func() { ended <- module.New(options).Run(ctx, r.updates, func(set *module.Set) { r.sets <- set }) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		fetcher.Close()
	}
	s.t.Cleanup(r.stop)
	return r
}

func (r *resolver) want(url string, by *definition.Signed) {
	r.updates <- &definition.Set{Filters: []*definition.Filter{{
		Name: "hello", Module: definition.Module{URL: url, Fetch: definition.Mirror, Signed: by},
	}}}
}

// until waits for a state, a module, and text in the reason. In the meantime,
// no modules other than the allowed ones may be seen.
func (r *resolver) until(state module.State, sum, reason string, allowed ...string) *module.Filter {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for {
		if r.last != nil {
			f := r.last.Filters[0]
			if f.Module.SHA256 != "" && f.Module.SHA256 != sum && !strings.Contains(strings.Join(allowed, " "), f.Module.SHA256) {
				r.t.Fatalf("%s came: %+v", f.Module.SHA256, f)
			}
			if f.State == state && f.Module.SHA256 == sum && strings.Contains(f.Reason, reason) {
				return f
			}
		}
		select {
		case r.last = <-r.sets:
		case <-deadline:
			if r.last != nil {
				r.t.Logf("%+v", *r.last.Filters[0])
			}
			r.t.Fatalf("no filter that is %s with %.12s, %q", state, sum, reason)
		}
	}
}

// TestSigned checks that the signer is reported, for each form of signature, by
// keys and identities.
func TestSigned(t *testing.T) {
	s := newSigning(t, nil)
	for name, test := range map[string]struct {
		sign func(digest string) module.Signature
		by   *definition.Signed
		who  string
	}{
		"key, cosign's": {func(d string) module.Signature { return s.good.Cosign(signedtest.Payload(d)) }, s.byKey(), s.good.Signer()},
		"key, bundle": {func(d string) module.Signature {
			return s.good.Bundle(signedtest.Statement(d, signedtest.SignPredicate))
		}, s.byKey(), s.good.Signer()},
		"one of two keys": {func(d string) module.Signature { return s.good.Cosign(signedtest.Payload(d)) },
			&definition.Signed{Keys: []string{signedtest.NewKey(t).Public, s.good.Public}}, s.good.Signer()},
		"identity, cosign's": {func(d string) module.Signature {
			return s.authority.Cosign(signedtest.Payload(d), someone, provider, soon)
		}, s.byIdentity(), someone + " (" + provider + ")"},
		"identity, bundle": {func(d string) module.Signature {
			return s.authority.Bundle(signedtest.Statement(d, signedtest.SignPredicate), someone, provider, soon)
		}, s.byIdentity(), someone + " (" + provider + ")"},
		"identity, pattern": {func(d string) module.Signature {
			return s.authority.Cosign(signedtest.Payload(d), someone, provider, soon)
		}, &definition.Signed{Identity: "*@example.com", Issuer: provider, Root: s.authority.Root(false)}, someone + " (" + provider + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			url := s.publish(name)
			// Signatures by others, and invalid ones, are ignored.
			s.sign(s.digest(name), s.bad.Cosign(signedtest.Payload(s.digest(name))), module.Signature{Payload: []byte("{}")}, test.sign(s.digest(name)))
			r := s.resolve(module.Options{})
			r.want(url, test.by)
			if f := r.until(module.Good, s.sum(name), ""); f.Module.Signer != test.who {
				t.Errorf("signed by %q, want %q", f.Module.Signer, test.who)
			}
			r.stop()
		})
	}
}

// TestTampered checks that a module without the required signature is never
// used, and the last good one stays.
func TestTampered(t *testing.T) {
	s := newSigning(t, nil)
	payload, statement := signedtest.Payload, func(d string) []byte { return signedtest.Statement(d, signedtest.SignPredicate) }
	other := s.digest("other")
	altered := func(m module.Signature, change func(*module.Signature)) module.Signature {
		change(&m)
		return m
	}
	replaced := func(text, old, new string) string { return strings.Replace(text, old, new, 1) }
	keyed := func(why string, sign func(digest string) []module.Signature) tampering {
		return tampering{why, s.byKey(), sign}
	}
	keyless := func(why string, sign func(digest string) []module.Signature) tampering {
		return tampering{why, s.byIdentity(), sign}
	}
	one := func(m module.Signature) []module.Signature { return []module.Signature{m} }
	for name, test := range map[string]tampering{
		"no signature":                 keyed("it has no signature", func(string) []module.Signature { return nil }),
		"another key":                  keyed("invalid signature", func(d string) []module.Signature { return one(s.bad.Cosign(payload(d))) }),
		"another key, bundle":          keyed("accepted signatures do not match", func(d string) []module.Signature { return one(s.bad.Bundle(statement(d))) }),
		"signature of another image":   keyed("of another image", func(string) []module.Signature { return one(s.good.Cosign(payload(other))) }),
		"bundle of another image":      keyed("does not match any digest", func(string) []module.Signature { return one(s.good.Bundle(statement(other))) }),
		"replay of the version before": keyed("of another image", func(string) []module.Signature { return one(s.good.Cosign(payload(s.digest("first")))) }),
		"statement that is no signing": keyed("an attestation", func(d string) []module.Signature {
			return one(s.good.Bundle(signedtest.Statement(d, "https://slsa.dev/provenance/v1")))
		}),
		"payload altered": keyed("invalid signature", func(d string) []module.Signature {
			return one(altered(s.good.Cosign(payload(other)), func(m *module.Signature) { m.Payload = payload(d) }))
		}),
		"payload of another type": keyed("not a statement about an image", func(d string) []module.Signature {
			return one(s.good.Cosign(bytes.Replace(payload(d), []byte("cosign container"), []byte("some other"), 1)))
		}),
		"payload that is no JSON":     keyed("can't be read", func(string) []module.Signature { return one(s.good.Cosign([]byte("signed"))) }),
		"empty signature":             keyed("is empty", func(d string) []module.Signature { return one(module.Signature{Payload: payload(d)}) }),
		"signature that is no base64": keyed("not base64", func(d string) []module.Signature { return one(module.Signature{Payload: payload(d), Signature: "%"}) }),
		"signature of zeros": keyed("invalid signature", func(d string) []module.Signature {
			return one(module.Signature{Payload: payload(d), Signature: base64.StdEncoding.EncodeToString(make([]byte, 70))})
		}),
		"statement altered": keyed("accepted signatures do not match", func(d string) []module.Signature {
			return one(altered(s.good.Bundle(statement(other)), func(m *module.Signature) { m.Bundle = swapStatement(t, m.Bundle, statement(d)) }))
		}),
		"bundle without a signature": keyed("accepted signatures do not match", func(d string) []module.Signature {
			return one(altered(s.good.Bundle(statement(d)), func(m *module.Signature) { m.Bundle = []byte(replaced(string(m.Bundle), `"sig"`, `"keyid"`)) }))
		}),
		"bundle that is no JSON": keyed("can't be read", func(string) []module.Signature { return one(module.Signature{Bundle: []byte("\x00")}) }),
		"huge bundle": keyed("it has no signature", func(d string) []module.Signature {
			return one(altered(s.good.Bundle(statement(d)), func(m *module.Signature) { m.Bundle = append(m.Bundle, bytes.Repeat([]byte(" "), maxSignature)...) }))
		}),
		"hidden behind many": keyed("none of its 32", func(d string) []module.Signature {
			all := make([]module.Signature, maxSignatures)
			for i := range all {
				all[i] = s.bad.Cosign(append(payload(d), strings.Repeat(" ", i)...))
			}
			return append(all, s.good.Cosign(payload(d)))
		}),
		"a key where an identity must": keyless("log entries", func(d string) []module.Signature { return one(s.good.Cosign(payload(d))) }),
		"an identity where a key must": keyed("expected key signature", func(d string) []module.Signature { return one(s.authority.Cosign(payload(d), someone, provider, soon)) }),
		"another identity": keyless("no matching CertificateIdentity", func(d string) []module.Signature {
			return one(s.authority.Cosign(payload(d), "someone-else@example.com", provider, soon))
		}),
		"another issuer": keyless("no matching CertificateIdentity", func(d string) []module.Signature {
			return one(s.authority.Cosign(payload(d), someone, "https://elsewhere.example.com", soon))
		}),
		"another identity, bundle": keyless("no matching CertificateIdentity", func(d string) []module.Signature {
			return one(s.authority.Bundle(statement(d), "someone-else@example.com", provider, soon))
		}),
		"another authority": keyless("log entries", func(d string) []module.Signature { return one(s.others.Cosign(payload(d), someone, provider, soon)) }),
		"certificate expired": keyless("outside certificate validity", func(d string) []module.Signature {
			return one(s.authority.Cosign(payload(d), someone, provider, 20*time.Minute))
		}),
		"no certificate": keyless("certificate", func(d string) []module.Signature {
			return one(altered(s.authority.Cosign(payload(d), someone, provider, soon), func(m *module.Signature) { m.Certificate = "" }))
		}),
		"in no log": keyless("log entries", func(d string) []module.Signature {
			return one(altered(s.authority.Cosign(payload(d), someone, provider, soon), func(m *module.Signature) { m.Log = "" }))
		}),
		"log entry of another": keyless("signature does not match", func(d string) []module.Signature {
			return one(altered(s.authority.Cosign(payload(d), someone, provider, soon), func(m *module.Signature) {
				m.Log = s.authority.Cosign(payload(other), someone, provider, soon).Log
			}))
		}),
		"log entry in another log": keyless("log entries", func(d string) []module.Signature {
			return one(altered(s.authority.Cosign(payload(d), someone, provider, soon), func(m *module.Signature) {
				m.Log = s.others.Cosign(payload(d), someone, provider, soon).Log
			}))
		}),
		"log entry that is no JSON": keyless("log entry can't be read", func(d string) []module.Signature {
			return one(altered(s.authority.Cosign(payload(d), someone, provider, soon), func(m *module.Signature) { m.Log = "{" }))
		}),
		"bundle in no log": keyless("log entries", func(d string) []module.Signature {
			return one(altered(s.authority.Bundle(statement(d), someone, provider, soon), func(m *module.Signature) { m.Bundle = withoutLog(t, m.Bundle) }))
		}),
		"keyless, of another image": keyless("does not match any digest", func(string) []module.Signature {
			return one(s.authority.Bundle(statement(other), someone, provider, soon))
		}),
		"certificate in no transparency log": {"certificate timestamp", &definition.Signed{Identity: someone, Issuer: provider, Root: s.authority.Root(true)}, func(d string) []module.Signature {
			return one(s.authority.Cosign(payload(d), someone, provider, soon))
		}},
		"key, in no log, where one must": {"log entries", &definition.Signed{Keys: []string{s.good.Public}, Root: s.authority.Root(false)}, func(d string) []module.Signature {
			return one(s.good.Cosign(payload(d)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.image("first")
			url := s.publish("first")
			s.sign(s.digest("first"), s.good.Cosign(payload(s.digest("first"))))
			r := s.resolve(module.Options{})
			r.want(url, s.byKey())
			r.until(module.Good, s.sum("first"), "")
			// The signature exists before the tag moves.
			s.push(t, "filters/hello:next", s.image(name))
			s.sign(s.digest(name), test.sign(s.digest(name))...)
			s.publish(name)
			r.want(url, test.by)
			f := r.until(module.Failed, s.sum("first"), test.why)
			if len(f.Reason) > 1000 {
				t.Errorf("a reason of %d bytes", len(f.Reason))
			}
			// With a valid signature it is accepted, so nothing else was wrong.
			s.sign(s.digest(name), s.good.Cosign(payload(s.digest(name))))
			r.want(url, s.byKey())
			r.until(module.Good, s.sum(name), "", s.sum("first"))
			r.stop()
		})
	}
}

type tampering struct {
	why  string // in the reason
	by   *definition.Signed
	sign func(digest string) []module.Signature
}

// swapStatement replaces the statement in a bundle, and keeps the signature.
func swapStatement(t *testing.T, bundle, statement []byte) []byte {
	t.Helper()
	start := bytes.Index(bundle, []byte(`"payload":"`))
	if start < 0 {
		t.Fatalf("%s", bundle)
	}
	start += len(`"payload":"`)
	end := start + bytes.IndexByte(bundle[start:], '"')
	return fmt.Appendf(nil, "%s%s%s", bundle[:start], base64.StdEncoding.EncodeToString(statement), bundle[end:])
}

// TestTagMoves checks that what is pulled is what was verified, even if the tag
// moves meanwhile.
func TestTagMoves(t *testing.T) {
	var s *signing
	var moves atomic.Bool
	s = newSigning(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, ".sig") && r.Method == http.MethodGet && moves.CompareAndSwap(true, false) {
				go s.publish("evil")
			}
		})
	})
	s.image("evil")
	url := s.publish("signed")
	s.sign(s.digest("signed"), s.good.Cosign(signedtest.Payload(s.digest("signed"))))
	moves.Store(true)
	r := s.resolve(module.Options{})
	r.want(url, s.byKey())
	r.until(module.Good, s.sum("signed"), "")
	r.until(module.Failed, s.sum("signed"), "it has no signature")
}

// TestLyingRegistry checks that a registry that returns wrong digests, or blobs
// that don't match their digests, is never believed.
func TestLyingRegistry(t *testing.T) {
	var lie atomic.Value // func(w http.ResponseWriter, r *http.Request) bool
	lie.Store(func(http.ResponseWriter, *http.Request) bool { return false })
	s := newSigning(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !lie.Load().(func(http.ResponseWriter, *http.Request) bool)(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	})
	url := s.publish("signed")
	s.sign(s.digest("signed"), s.good.Cosign(signedtest.Payload(s.digest("signed"))))
	evil, err := s.image("evil").RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	s.push(t, "filters/hello:evil", s.image("evil"))
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"digest of another": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/manifests/v1") {
				return false
			}
			w.Header().Set("Docker-Content-Digest", s.digest("signed"))
			w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
			w.Header().Set("Content-Length", fmt.Sprint(len(evil)))
			if r.Method == http.MethodGet {
				w.Write(evil)
			}
			return true
		},
		"blob of another": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+s.sum("signed")) {
				return false
			}
			w.Write([]byte("\x00asm\x01\x00\x00\x00"))
			return true
		},
		"signatures without end": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, ".sig") {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			for range 1 << 20 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<12)); err != nil {
					break
				}
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			lie.Store(answer)
			r := s.resolve(module.Options{})
			r.want(url, s.byKey())
			r.until(module.Failed, "", "")
			r.stop()
		})
	}
}

// withoutLog removes the log entries from a bundle.
func withoutLog(t *testing.T, bundle []byte) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	delete(b["verificationMaterial"].(map[string]any), "tlogEntries")
	without, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return without
}
