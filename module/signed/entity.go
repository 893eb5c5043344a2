package signed

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"wasmxds/module"
)

// entity is a signature in sigstore's form, with what it signs.
type entity struct {
	bundle  *bundle.Bundle
	payload []byte // what cosign signed; nil: the digest is signed
	digest  []byte
}

// artifact returns the artifact that the signature is verified against.
func (e *entity) artifact() verify.ArtifactPolicyOption {
	if e.payload != nil {
		return verify.WithArtifact(bytes.NewReader(e.payload))
	}
	return verify.WithArtifactDigest("sha256", e.digest)
}

// signPredicate is the predicate of cosign's signatures of images. Other
// statements about an image, such as its provenance, are not signatures of it.
const signPredicate = "https://sigstore.dev/cosign/sign/v1"

// isSignature returns an error if what was verified does not say that the image
// is signed.
func isSignature(r *verify.VerificationResult) error {
	if r.Statement != nil && r.Statement.GetPredicateType() != signPredicate {
		return errors.New("it is an attestation of the image, not a signature")
	}
	return nil
}

func entityOf(s module.Signature, digest string) (*entity, error) {
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("%q is not a digest", digest)
	}
	e := &entity{digest: sum}
	if s.Bundle != nil {
		e.bundle = &bundle.Bundle{Bundle: new(protobundle.Bundle)}
		if err := e.bundle.UnmarshalJSON(s.Bundle); err != nil {
			return nil, errors.New("a signature bundle can't be read")
		}
		return e, nil
	}
	if err := payloadIsOf(s.Payload, digest); err != nil {
		return nil, err
	}
	made, err := bundleOf(s)
	if err != nil {
		return nil, err
	}
	e.payload, e.bundle = s.Payload, made
	return e, nil
}

// payloadIsOf checks that cosign's payload is for the image.
func payloadIsOf(payload []byte, digest string) error {
	var p struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return errors.New("the signed payload can't be read")
	}
	if p.Critical.Image.Digest != digest {
		return errors.New("a signature is of another image")
	}
	if !strings.HasPrefix(p.Critical.Type, "cosign container image signature") && p.Critical.Type != "atomic container signature" {
		return errors.New("the signed payload is not a statement about an image")
	}
	return nil
}

// bundleOf converts a cosign signature to a bundle.
func bundleOf(s module.Signature) (*bundle.Bundle, error) {
	raw, err := base64.StdEncoding.DecodeString(s.Signature)
	if err != nil || len(raw) == 0 {
		return nil, errors.New("a signature is empty or not base64")
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "key"}},
	}
	if s.Certificate != "" {
		certificates := &protocommon.X509CertificateChain{}
		for rest := []byte(s.Certificate + "\n" + s.Chain); len(certificates.Certificates) < 8; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			certificates.Certificates = append(certificates.Certificates, &protocommon.X509Certificate{RawBytes: block.Bytes})
		}
		material.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: certificates}
	}
	if s.Log != "" {
		entry, err := logEntry(s.Log)
		if err != nil {
			return nil, err
		}
		material.TlogEntries = append(material.TlogEntries, entry)
	}
	made, err := bundle.NewBundle(&protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: material,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sumOf(s.Payload)},
			Signature:     raw,
		}},
	})
	if err != nil {
		return nil, told(err)
	}
	return made, nil
}

// logEntry parses the response of Rekor that cosign has stored.
func logEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	unreadable := errors.New("a transparency log entry can't be read")
	var said struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return nil, unreadable
	}
	var kind struct{ Kind, APIVersion string }
	id, err := hex.DecodeString(said.Payload.LogID)
	if err != nil || json.Unmarshal(said.Payload.Body, &kind) != nil {
		return nil, unreadable
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          said.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:    said.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: said.SignedEntryTimestamp},
		CanonicalizedBody: said.Payload.Body,
	}, nil
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
