package definition

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"

	"wasmxds/definition/internal/document"
)

// Signed describes who must have signed a module: the holder of one of the
// keys, or an identity that an authority has certified.
type Signed struct {
	Keys     []string `json:",omitempty"` // public keys: PEM, or file URLs
	Identity string   `json:",omitempty"` // in the certificate; * matches any text
	Issuer   string   `json:",omitempty"` // who vouched for the identity to the authority
	Root     string   `json:",omitempty"` // Sigstore trusted root: JSON, or a file URL
}

// String returns s in the form that [ParseSigned] reads. It returns "" for nil.
func (s *Signed) String() string {
	if s == nil {
		return ""
	}
	b, err := json.Marshal(s)
	if err != nil { // can't happen: all fields are strings
		panic(err)
	}
	return string(b)
}

// ParseSigned is the inverse of String. It returns nil for anything else.
func ParseSigned(text string) *Signed {
	s := new(Signed)
	if text == "" || json.Unmarshal([]byte(text), s) != nil {
		return nil
	}
	return s
}

type signed struct {
	Keys     []string `json:"keys,omitempty" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"Public keys of which one must have signed the module: paths of files as cosign.pub, or PEM."`
	Identity string   `json:"identity,omitempty" jsonschema_description:"Who must have signed it with a certificate: an address or URI, in which * stands for anything."`
	Issuer   string   `json:"issuer,omitempty" jsonschema_description:"Who must have told the certificate's authority of the identity: URL of an OIDC issuer."`
	Root     string   `json:"root,omitempty" jsonschema_description:"Whom to trust: path of Sigstore's trusted_root.json, or its text. With keys: what they sign must be in a transparency log of it."`
}

const maxSigners = 16

// signed reads who must have signed a module. The path of the field is at.
func (d *Doc) signed(at string, s *signed, m Module) *Signed {
	if s == nil {
		return nil
	}
	made := &Signed{Identity: s.Identity, Issuer: s.Issuer}
	switch {
	case m.URL != "" && !strings.HasPrefix(m.URL, "oci://"):
		d.Problem(at, "publish it in a registry and sign it there, or pin it by sha256", "is for oci:// only")
	case m.Fetch == Direct:
		d.Problem(at, "use fetch: mirror", "is not checked by Envoys, which fetch the module themselves")
	case len(s.Keys) > 0 && s.Identity != "":
		d.Problem(at+".identity", "", "can't be combined with keys")
	case len(s.Keys) == 0 && s.Identity == "":
		d.Problem(at, "{keys: [cosign.pub]}, or {identity: …, issuer: …, root: trusted_root.json}", "needs keys or identity")
	case len(s.Keys) > maxSigners:
		d.Problem(at+".keys", "", "%d keys, %d at most", len(s.Keys), maxSigners)
		return made
	}
	if s.Identity != "" {
		for _, needed := range []struct{ field, value, example string }{
			{"issuer", s.Issuer, "https://token.actions.githubusercontent.com"}, {"root", s.Root, "trusted_root.json"},
		} {
			if needed.value == "" {
				d.Problem(at, needed.field+": "+needed.example+" is an example", "identity needs %s as well", needed.field)
			}
		}
	} else if s.Issuer != "" {
		d.Problem(at+".issuer", "", "is for an identity")
	}
	for i, key := range s.Keys {
		made.Keys = append(made.Keys, d.publicKey(document.Index(at+".keys", i), key))
	}
	if made.Root = s.Root; s.Root != "" && !strings.HasPrefix(strings.TrimSpace(s.Root), "{") {
		made.Root = d.localFile(at+".root", s.Root)
	}
	return made
}

// VerificationKey reads a PEM key that is written inline.
func (d *Doc) VerificationKey(path, written string) *Signed {
	if !strings.Contains(written, "-----BEGIN") {
		d.Problem(path, "cosign.pub has one", "is not a public key in PEM")
		return nil
	}
	return &Signed{Keys: []string{d.publicKey(path, written)}}
}

// publicKey checks a key that is written inline, or converts the path of a key
// to a URL.
func (d *Doc) publicKey(path, written string) string {
	if !strings.Contains(written, "-----BEGIN") {
		return d.localFile(path, written)
	}
	block, _ := pem.Decode([]byte(written))
	if block == nil {
		d.Problem(path, "", "is not PEM")
		return written
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		d.Problem(path, "cosign generate-key-pair writes cosign.pub", "is not a public key")
	}
	return written
}

// localFile returns the URL of a file on this machine.
func (d *Doc) localFile(path, written string) string {
	if written == "" {
		d.Problem(path, "", "is empty")
		return ""
	}
	if scheme, _, has := strings.Cut(written, "://"); has && scheme != "file" {
		d.Problem(path, "copy it beside the definition", "must be a file")
		return ""
	}
	return d.ModuleURL(path, written)
}
