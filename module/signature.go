package module

import (
	"path/filepath"

	"wasmxds/definition"
)

// Signatures says by whom modules must be signed.
type Signatures interface {
	// Of reads who must have signed the module of a URL, as its definition says (nil:
	// it doesn't) and as the server demands; nil: nobody has to. Keys are read anew each
	// time.
	Of(url string, s *definition.Signed) (Requirement, error)
}

// Requirement is by whom a module must be signed. Immutable.
type Requirement interface {
	// ID stands for all of it: keys by their content.
	ID() string
	// Verify gives who signed the image of a digest, of what may be its signatures.
	Verify(digest string, found []Signature) (signer string, err error)
}

// Signature is what a registry has, and may be the signature of an image.
type Signature struct {
	Bundle []byte // of sigstore, in JSON; nil: it is one of cosign's, which has the rest

	Payload     []byte // what is signed: JSON with the image's digest
	Signature   string // base64
	Certificate string // PEM; "": it is signed by a key
	Chain       string // PEM
	Log         string // Rekor's answer, in JSON; "": it is in no log
}

// proof is of a content: that it is signed as was demanded.
type proof struct{ sha256, signed string }

// prove remembers who has signed a module.
func (l *resolution) prove(m Info) {
	if m.Signed != "" {
		l.proven[proof{m.SHA256, m.Signed}] = m.Signer
	}
}

// signedAs is a module of which is known what is known of another of the same content.
func (m Info) signedAs(known Info) Info {
	m.Signer, m.Signed = known.Signer, known.Signed
	return m
}

// known is what is known of an origin, as far as it is signed as is demanded now. A
// module that is pinned was signed if its content was.
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

// requirement is who must have signed the module of a key; nil: nobody.
func (l *resolution) requirement(key originKey) (Requirement, error) {
	if l.Signatures == nil {
		if key.signed != "" {
			return nil, &ContentError{Message: "module.signed: signatures can't be checked here"}
		}
		return nil, nil
	}
	return l.Signatures.Of(key.url, definition.ParseSigned(key.signed))
}

// idOf is the ID of a requirement; "" where there is none.
func idOf(r Requirement) string {
	if r == nil {
		return ""
	}
	return r.ID()
}

// keyFiles are those that a definition names: when one changes, what was signed by what
// it had has to be verified anew.
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
