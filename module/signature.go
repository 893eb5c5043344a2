package module

import (
	"path/filepath"

	"wasmxds/definition"
)

// Signatures determines who must sign modules.
type Signatures interface {
	// Of returns who must have signed the module of a URL: whom its definition
	// requires (s, which may be nil), and whom the server requires. It returns
	// nil if nobody has to. It reads keys again each time.
	Of(url string, s *definition.Signed) (Requirement, error)
}

// Requirement describes who must have signed a module. It is immutable.
type Requirement interface {
	// ID identifies the requirement, including the content of keys.
	ID() string
	// Verify returns who signed the image with a digest, given its possible
	// signatures.
	Verify(digest string, found []Signature) (signer string, err error)
}

// Signature is a possible signature of an image, from a registry.
type Signature struct {
	Bundle []byte // sigstore bundle, in JSON; nil: a cosign signature, in the other fields

	Payload     []byte // the signed JSON with the image's digest
	Signature   string // base64
	Certificate string // PEM; "": signed by a key
	Chain       string // PEM
	Log         string // Rekor's response, in JSON; "": it is in no log
}

// proof identifies content and a requirement that it satisfies.
type proof struct{ sha256, signed string }

// prove records who has signed a module.
func (l *resolution) prove(m Info) {
	if m.Signed != "" {
		l.proven[proof{m.SHA256, m.Signed}] = m.Signer
	}
}

// signedAs returns m with the signature of another module of the same content.
func (m Info) signedAs(known Info) Info {
	m.Signer, m.Signed = known.Signer, known.Signed
	return m
}

// known returns what is known about an origin, if its signature satisfies the
// current requirement. For a pinned module, any proof for its content suffices.
func (l *resolution) known(key originKey) knowledge {
	known := l.memory.origin(key)
	must, err := l.requirement(key)
	switch signer, proven := l.proven[proof{key.sha256, idOf(must)}]; {
	case err != nil:
		return knowledge{}
	case known.info.Signed == idOf(must) && (must == nil || known.info != Info{}):
		return known
	case must != nil && proven:
		info, err := l.Store.Stat(key.sha256)
		if err != nil {
			info.SHA256 = key.sha256
		}
		return knowledge{info: info.signedAs(Info{Signer: signer, Signed: must.ID()})}
	}
	return knowledge{}
}

// requirement returns who must have signed the module of a key, or nil for
// nobody.
func (l *resolution) requirement(key originKey) (Requirement, error) {
	if l.Signatures == nil {
		if key.signed != "" {
			return nil, &ContentError{Message: "module.signed: this command can't verify signatures"}
		}
		return nil, nil
	}
	return l.Signatures.Of(key.url, definition.ParseSigned(key.signed))
}

// idOf returns the ID of a requirement, or "" for nil.
func idOf(r Requirement) string {
	if r == nil {
		return ""
	}
	return r.ID()
}

// keyFiles returns the key files that a definition names: when one changes, the
// signatures must be verified again.
func (l *resolution) keyFiles(key originKey) []string {
	s := definition.ParseSigned(key.signed)
	if s == nil {
		return nil
	}
	var paths []string
	for _, written := range append([]string{s.Root}, s.Keys...) {
		if path, is := (definition.Module{URL: written}).Path(); is && l.Policy.holds(filepath.Dir(path)) {
			paths = append(paths, path)
		}
	}
	return paths
}
