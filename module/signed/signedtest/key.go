// Package signedtest signs images as cosign does, by keys and by an authority of its
// own, for tests; and puts signatures into registries.
package signedtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"wasmxds/module"
)

// Key is a pair of keys as cosign generate-key-pair makes it.
type Key struct {
	t       testing.TB
	private *ecdsa.PrivateKey
	Public  string // PEM
}

// NewKey makes a pair.
func NewKey(t testing.TB) *Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	must(t, err)
	return &Key{t, private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// Signer is what a Requirement says of who has signed with the key.
func (k *Key) Signer() string {
	block, _ := pem.Decode([]byte(k.Public))
	sum := sha256.Sum256(block.Bytes)
	return "key sha256:" + hex.EncodeToString(sum[:])
}

func (k *Key) sign(b []byte) []byte {
	sum := sha256.Sum256(b)
	signature, err := k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
	must(k.t, err)
	return signature
}

// Payload is what cosign signs of an image.
func Payload(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"example.com/filters/hello"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

// Cosign signs a payload as cosign does at a tag beside the image.
func (k *Key) Cosign(payload []byte) module.Signature {
	return module.Signature{Payload: payload, Signature: base64.StdEncoding.EncodeToString(k.sign(payload))}
}

// Statement is what cosign states in a bundle of an image.
func Statement(digest, predicate string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"example.com/filters/hello","digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`,
		digest[len("sha256:"):], predicate)
}

// SignPredicate is the predicate of a signature.
const SignPredicate = "https://sigstore.dev/cosign/sign/v1"

const (
	statementType = "application/vnd.in-toto+json"
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Bundle signs a statement as cosign does in a bundle that refers to the image.
func (k *Key) Bundle(statement []byte) module.Signature {
	return bundleOf(k.t, &protobundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "any"}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: statement, PayloadType: statementType,
			Signatures: []*protodsse.Signature{{Sig: k.sign(dsse.PAE(statementType, statement))}},
		}},
	})
}

func bundleOf(t testing.TB, b proto.Message) module.Signature {
	t.Helper()
	text, err := protojson.Marshal(b)
	must(t, err)
	return module.Signature{Bundle: text}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
