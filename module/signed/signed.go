// Package signed verifies who signed modules in registries, from cosign
// signatures and sigstore bundles. It verifies offline, with only what it is
// given.
//
// Start with [Policy.Of], which returns who must have signed a module. The
// resulting [Requirement] verifies signatures that package oci finds. It
// verifies that the digest of a manifest was signed; the content is checked by
// the digests in it.
//
// A signature by a key needs no transparency log, unless a root is given with
// the key. One by an identity (keyless) needs a certificate of the root's
// authority for that identity and issuer, an entry in one of the root's logs, a
// time within the certificate's validity that the root's log or timestamping
// authority attests, and, if the root has certificate transparency logs, a
// proof from one of those.
package signed

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/module"
)

const (
	maxKey  = 64 << 10 // size of a key file in bytes
	maxRoot = 1 << 20  // size of a trusted root in bytes
)

// Policy determines which modules must be signed, and where keys may be.
type Policy struct {
	// Required are URLs of modules that must be signed, in which * matches any
	// text. By is who must sign these, in addition to whom the definition
	// names. If By is nil, the definition must name somebody.
	Required []string
	By       *definition.Signed
	// Roots are the folders for keys that definitions name; nil: everywhere.
	Roots *files.Roots
}

// Validate checks By, and the keys that it names.
func (p Policy) Validate() error {
	if p.By == nil {
		return nil
	}
	_, _, err := partOf(p.By, nil)
	return err
}

// Requirement describes who must have signed a module: one signer of each of
// its parts.
type Requirement struct {
	parts []part
	id    string
}

// part is the requirement of the definition, or of the server.
type part struct{ signers []signer }

// signer is a key or an identity.
type signer struct {
	name     string
	verifier *verify.Verifier
	policy   verify.PolicyOption
}

// Of implements module.Signatures.
func (p Policy) Of(url string, s *definition.Signed) (module.Requirement, error) {
	url = definition.ImageURL(url)
	must := p.requires(url)
	if s == nil && !must {
		return nil, nil
	}
	type from struct {
		*definition.Signed
		roots *files.Roots
	}
	var all []from
	if s != nil {
		all = append(all, from{s, p.Roots})
	}
	if must && p.By != nil {
		all = append(all, from{p.By, nil})
	}
	switch {
	case !strings.HasPrefix(url, "oci://"):
		return nil, refusal("only modules in registries can be: publish it as oci:// and sign it with cosign",
			"%s must be signed", definition.MaskURL(url))
	case len(all) == 0:
		return nil, refusal("say by whom: module.signed: {keys: [cosign.pub]}", "%s must be signed (--require-signed)", definition.MaskURL(url))
	}
	r := &Requirement{}
	id := sha256.New()
	for _, s := range all {
		made, said, err := partOf(s.Signed, s.roots)
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, made)
		id.Write(said)
	}
	r.id = hex.EncodeToString(id.Sum(nil)[:16])
	return r, nil
}

// ID implements module.Requirement.
func (r *Requirement) ID() string { return r.id }

// partOf reads a requirement, and also returns all of it as bytes.
func partOf(s *definition.Signed, roots *files.Roots) (made part, said []byte, err error) {
	var trusted *root.TrustedRoot
	all := [][]byte{[]byte(s.Identity), []byte(s.Issuer)}
	if s.Root != "" {
		text, err := read(roots, "root", s.Root, maxRoot)
		if err != nil {
			return part{}, nil, err
		}
		if trusted, err = root.NewTrustedRootFromJSON(text); err != nil {
			return part{}, nil, refusal("it is what cosign trusted-root create writes, or Sigstore's own trusted_root.json", "module.signed.root is no trusted root of Sigstore")
		}
		all = append(all, text)
	}
	for _, key := range s.Keys {
		text, err := read(roots, "key", key, maxKey)
		if err != nil {
			return part{}, nil, err
		}
		one, err := byKey(text, trusted)
		if err != nil {
			return part{}, nil, err
		}
		made.signers = append(made.signers, one)
		all = append(all, text)
	}
	if s.Identity != "" {
		if trusted == nil {
			return part{}, nil, refusal("", "module.signed.identity needs a root")
		}
		one, err := byIdentity(s.Identity, s.Issuer, trusted)
		if err != nil {
			return part{}, nil, err
		}
		made.signers = append(made.signers, one)
	}
	if said, err = json.Marshal(all); err != nil {
		return part{}, nil, fmt.Errorf("read by whom a module is signed: %w", err)
	}
	return made, said, nil
}

// read returns content that is written inline, or in a file.
func read(roots *files.Roots, what, written string, limit int64) ([]byte, error) {
	path, isFile := (definition.Module{URL: written}).Path()
	if !isFile {
		return []byte(written), nil
	}
	reads := files.Read
	if roots != nil {
		reads = roots.Read
	}
	text, err := reads(path, limit)
	switch {
	case errors.Is(err, files.ErrOutside):
		return nil, refusal("move it there, or set --module-root to its folder", "module.signed: the %s %s is outside of %v", what, path, roots)
	case err != nil:
		return nil, fmt.Errorf("read the %s that modules are signed by: %w", what, err)
	}
	return text, nil
}

// byKey returns the signer for a key. With a root, signatures must be in one of
// its logs.
func byKey(text []byte, trusted *root.TrustedRoot) (signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return signer{}, notKey()
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return signer{}, notKey()
	}
	loaded, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return signer{}, notKey()
	}
	timeless := root.NewExpiringKey(loaded, time.Time{}, time.Time{})
	material := root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterial(
		func(string) (root.TimeConstrainedVerifier, error) { return timeless, nil })}
	options := []verify.VerifierOption{verify.WithNoObserverTimestamps()}
	if trusted != nil {
		material = append(material, trusted)
		options = []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	}
	v, err := verify.NewVerifier(material, options...)
	if err != nil {
		return signer{}, fmt.Errorf("make a verifier of a key: %w", err)
	}
	sum := sha256.Sum256(block.Bytes)
	return signer{"key sha256:" + hex.EncodeToString(sum[:]), v, verify.WithKey()}, nil
}

func notKey() error {
	return refusal("cosign generate-key-pair writes cosign.pub", "module.signed.keys contains something that is not a public key in PEM")
}

// byIdentity returns the signer for an identity that an authority of the root
// certifies.
func byIdentity(identity, issuer string, trusted *root.TrustedRoot) (signer, error) {
	who, err := verify.NewShortCertificateIdentity(issuer, "", exact(identity), pattern(identity))
	if err != nil {
		return signer{}, refusal("", "module.signed.identity and issuer: %v", err)
	}
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if len(trusted.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return signer{}, fmt.Errorf("make a verifier of an identity: %w", err)
	}
	return signer{"", v, verify.WithCertificateIdentity(who)}, nil
}

// Verify implements module.Requirement.
func (r *Requirement) Verify(digest string, found []module.Signature) (string, error) {
	if len(found) == 0 {
		return "", refusal("sign it: cosign sign", "it has no signature")
	}
	var names []string
	for _, p := range r.parts {
		name, err := p.verify(digest, found)
		if err != nil {
			return "", err
		}
		names = append(names, name)
	}
	return strings.Join(names, ", "), nil
}

func (p part) verify(digest string, found []module.Signature) (string, error) {
	var last error
	for _, f := range found {
		e, err := entityOf(f, digest)
		if err != nil {
			last = cmp.Or(last, err)
			continue
		}
		for _, s := range p.signers {
			name, err := s.verify(e)
			if err == nil {
				return name, nil
			}
			last = cmp.Or(last, err)
		}
	}
	return "", refusal("cosign verify tells what is there", "none of its %d signatures is by whom it must be signed: %v", len(found), last)
}

// verify returns the name of the signer.
func (s signer) verify(e *entity) (string, error) {
	result, err := s.verifier.Verify(e.bundle, verify.NewPolicy(e.artifact(), s.policy))
	if err != nil {
		return "", told(err)
	}
	if e.payload == nil {
		if err := isSignature(result); err != nil {
			return "", err
		}
	}
	if s.name != "" {
		return s.name, nil
	}
	c := result.Signature.Certificate
	return c.SubjectAlternativeName + " (" + c.Issuer + ")", nil
}

func refusal(hint, format string, args ...any) error {
	return &module.ContentError{Message: fmt.Sprintf(format, args...), Hint: hint}
}

// told returns a verification error with bounded text, since parts of it come
// from the registry.
func told(err error) error {
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) > 300 {
		text = string(bytes.ToValidUTF8([]byte(text[:300]), nil)) + "…"
	}
	return errors.New(text)
}
