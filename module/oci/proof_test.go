package oci

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/signed"
	"wasmxds/module/signed/signedtest"
	"wasmxds/state/statetest"
)

// peer has one module.
type peer struct {
	store *module.Store
	sum   string
	b     []byte
}

func (p *peer) Get(_ context.Context, sha256 string) error {
	if sha256 != p.sum {
		return fs.ErrNotExist
	}
	_, err := p.store.PutAs(sha256, bytes.NewReader(p.b), 1<<20)
	return err
}

func (s *signing) peer(store *module.Store, seed string) *peer {
	s.t.Helper()
	layers, err := s.image(seed).Layers()
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return &peer{store, s.sum(seed), b}
}

// wantPinned is like want with pinned content.
func (r *resolver) wantPinned(url, sum string, by *definition.Signed) {
	r.updates <- &definition.Set{Filters: []*definition.Filter{{
		Name: "hello", Module: definition.Module{URL: url, SHA256: sum, Fetch: definition.Mirror, Signed: by},
	}}}
}

func open(t *testing.T, dir string) *module.Store {
	t.Helper()
	store, err := module.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestProofIsKept checks that, after a restart with the registry unavailable,
// what was verified stays in use, even on a new disk, and that other
// requirements are verified again.
func TestProofIsKept(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		s := newSigning(t, nil)
		url := s.publish("signed")
		sum := s.sum("signed")
		s.sign(s.digest("signed"), s.good.Cosign(signedtest.Payload(s.digest("signed"))))
		dir, modules := t.TempDir(), t.TempDir()
		start := func(options module.Options) (*resolver, func()) {
			process := statetest.Start(t, dir)
			if options.Store == nil {
				options.Store = open(t, modules)
			}
			options.State = process.Writer
			r := s.resolve(options)
			return r, func() { r.stop(); process.End() }
		}
		want := func(r *resolver, by *definition.Signed) {
			if pinned {
				r.wantPinned(url, sum, by)
			} else {
				r.want(url, by)
			}
		}
		// A module on this disk does not count as signed.
		if _, err := open(t, modules).Put(bytes.NewReader(s.peer(nil, "signed").b), 1<<20); err != nil {
			t.Fatal(err)
		}
		r, end := start(module.Options{})
		want(r, &definition.Signed{Keys: []string{s.bad.Public}})
		r.until(module.Failed, "", "none of its")
		want(r, s.byKey())
		r.until(module.Good, sum, "")
		end()

		s.Close() // the registry
		r, end = start(module.Options{})
		want(r, s.byKey())
		if f := r.until(module.Good, sum, ""); f.Module.Signer != s.good.Signer() {
			t.Errorf("signed by %q", f.Module.Signer)
		}
		want(r, &definition.Signed{Keys: []string{s.bad.Public}})
		r.until(module.Failed, sum, "")
		want(r, s.byKey())
		if pinned { // otherwise, the registry must resolve the tag
			r.until(module.Good, sum, "")
		}
		end()
		if !pinned {
			continue
		}

		store := open(t, t.TempDir())
		r, end = start(module.Options{Store: store, Peers: s.peer(store, "signed")})
		want(r, s.byKey())
		r.until(module.Good, sum, "")
		end()
		// Another server that has the module has not verified it.
		other := open(t, t.TempDir())
		fresh := s.resolve(module.Options{Store: other, Peers: s.peer(other, "signed")})
		want(fresh, s.byKey())
		fresh.until(module.Failed, "", "")
		fresh.stop()
	}
}

// TestKeyFile checks that a changed key file is read again, and earlier
// signatures by it are no longer accepted.
func TestKeyFile(t *testing.T) {
	s := newSigning(t, nil)
	url := s.publish("signed")
	s.sign(s.digest("signed"), s.good.Cosign(signedtest.Payload(s.digest("signed"))))
	key := filepath.Join(t.TempDir(), "cosign.pub")
	write := func(text string) {
		t.Helper()
		next := key + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, key); err != nil {
			t.Fatal(err)
		}
	}
	write(s.good.Public)
	r := s.resolve(module.Options{})
	r.want(url, &definition.Signed{Keys: []string{definition.FileURL(key)}})
	sum := s.sum("signed")
	r.until(module.Good, sum, "")
	write(s.bad.Public)
	r.until(module.Failed, sum, "none of its")
	write("no key")
	r.until(module.Failed, sum, "is not a public key in PEM")
	write(s.good.Public)
	r.until(module.Good, sum, "")
}

// TestRequireSigned checks that the server's requirement applies whatever a
// definition says, and however it writes the URL.
func TestRequireSigned(t *testing.T) {
	s := newSigning(t, nil)
	url := s.publish("signed")
	s.sign(s.digest("signed"), s.good.Cosign(signedtest.Payload(s.digest("signed"))))
	server := signed.Policy{Required: []string{"oci://" + s.host + "/*"}, By: s.byKey()}
	sum := s.sum("signed")
	for name, test := range map[string]struct {
		policy signed.Policy
		by     *definition.Signed
		reason string // "": it is good
	}{
		"signed for the server":       {server, nil, ""},
		"by whom the definition says": {signed.Policy{Required: []string{"*"}}, s.byKey(), ""},
		"nobody says by whom":         {signed.Policy{Required: []string{"*"}}, nil, "must be signed (--require-signed)"},
		"both, of which one has not":  {server, &definition.Signed{Keys: []string{s.bad.Public}}, "none of its"},
		"the server's has not":        {signed.Policy{Required: []string{"*"}, By: &definition.Signed{Keys: []string{s.bad.Public}}}, s.byKey(), "none of its"},
		"others must":                 {signed.Policy{Required: []string{"oci://elsewhere/*"}, By: s.byKey()}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			r := s.resolve(module.Options{Signatures: test.policy})
			r.want(url, test.by)
			if test.reason == "" {
				r.until(module.Good, sum, "")
			} else {
				r.until(module.Failed, "", test.reason)
			}
			r.stop()
		})
	}
}
