package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"wasmxds/module"
)

// Anyone who may push to a repository may push any number of signatures, so
// their number and size in bytes are bounded.
const (
	maxSignatures = 32
	maxSignature  = 256 << 10
)

const (
	bundleType  = "application/vnd.dev.sigstore.bundle" // prefix; the version follows
	payloadType = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// Annotations that cosign adds to a payload.
const (
	signatureNote   = "dev.cosignproject.cosign/signature"
	certificateNote = "dev.sigstore.cosign/certificate"
	chainNote       = "dev.sigstore.cosign/chain"
	logNote         = "dev.sigstore.cosign/bundle"
)

// signatures finds possible signatures of an image: bundles that refer to it,
// and those that cosign stores at a tag derived from its digest.
type signatures struct {
	puller *remote.Puller
	found  []module.Signature
	left   int // remaining bytes to read
}

// signedBy returns who has signed one of these digests: that of the manifest or
// index, or that of the image that was chosen in the index.
func signedBy(ctx context.Context, by module.Requirement, puller *remote.Puller, repository name.Repository, digests ...v1.Hash) (string, error) {
	var first error
	for i, digest := range digests {
		if i > 0 && digest == digests[0] {
			continue
		}
		s := signatures{puller: puller, left: maxSignatures * maxSignature / 4}
		if err := s.find(ctx, repository, digest); err != nil {
			return "", err
		}
		signer, err := by.Verify(digest.String(), s.found)
		if err == nil {
			return signer, nil
		}
		first = cmp.Or(first, err)
	}
	return "", first
}

func (s *signatures) find(ctx context.Context, repository name.Repository, digest v1.Hash) error {
	if err := s.bundles(ctx, repository, digest); err != nil {
		return err
	}
	return s.cosigns(ctx, repository, digest)
}

// bundles finds sigstore bundles by the referrers of an image.
func (s *signatures) bundles(ctx context.Context, repository name.Repository, digest v1.Hash) error {
	index, err := remote.Referrers(repository.Digest(digest.String()), remote.WithContext(ctx), remote.Reuse(s.puller))
	if err != nil {
		return missing(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if len(s.found) == maxSignatures {
			break
		}
		if !strings.HasPrefix(d.ArtifactType, bundleType) {
			continue
		}
		layers, err := s.layers(ctx, repository.Digest(d.Digest.String()))
		if err != nil {
			return err
		}
		for _, layer := range layers {
			if strings.HasPrefix(string(layer.MediaType), bundleType) {
				b, err := s.read(ctx, repository, layer)
				if err != nil {
					return err
				}
				if b != nil {
					s.found = append(s.found, module.Signature{Bundle: b})
				}
				break // there are no further bundles
			}
		}
	}
	return nil
}

// cosigns finds the signatures at the tag sha256-DIGEST.sig.
func (s *signatures) cosigns(ctx context.Context, repository name.Repository, digest v1.Hash) error {
	layers, err := s.layers(ctx, repository.Tag(digest.Algorithm+"-"+digest.Hex+".sig"))
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if len(s.found) == maxSignatures {
			break
		}
		if layer.MediaType != payloadType {
			continue
		}
		payload, err := s.read(ctx, repository, layer)
		if err != nil {
			return err
		}
		notes := layer.Annotations
		if payload == nil {
			continue
		}
		s.found = append(s.found, module.Signature{
			Payload: payload, Signature: notes[signatureNote],
			Certificate: notes[certificateNote], Chain: notes[chainNote], Log: notes[logNote],
		})
	}
	return nil
}

// layers returns the layers of an image, or none if it does not exist.
func (s *signatures) layers(ctx context.Context, ref name.Reference) ([]v1.Descriptor, error) {
	top, err := s.puller.Get(ctx, ref)
	if err != nil {
		return nil, missing(err)
	}
	if !top.MediaType.IsImage() {
		return nil, nil
	}
	image, err := top.Image()
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	return manifest.Layers, nil
}

// read returns a blob, or nil if it is too large for a signature.
func (s *signatures) read(ctx context.Context, repository name.Repository, d v1.Descriptor) ([]byte, error) {
	if d.Size > maxSignature || d.Size < 0 || int(d.Size) > s.left {
		return nil, nil
	}
	layer, err := s.puller.Layer(ctx, repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	content, err := layer.Compressed() // as stored
	if err != nil {
		return nil, missing(err)
	}
	defer content.Close()
	b, err := io.ReadAll(io.LimitReader(content, maxSignature+1))
	if err != nil {
		return nil, err
	}
	if s.left -= len(b); len(b) > maxSignature || s.left < 0 {
		return nil, nil
	}
	return b, nil
}

// missing returns nil if an error means that something does not exist, and
// otherwise the error.
func missing(err error) error {
	if answer, ok := errors.AsType[*transport.Error](err); ok && answer.StatusCode == http.StatusNotFound {
		return nil
	}
	return err
}

// Verify returns the digest that a URL resolves to, and who has signed it as
// required.
func (f *Fetcher) Verify(ctx context.Context, request module.Request) (digest, signer string, err error) {
	request.Known = module.Validators{}
	response, err := f.Fetch(ctx, request)
	if err != nil {
		return "", "", err
	}
	response.Body.Close()
	if response.Signer == "" {
		return "", "", fmt.Errorf("%s: nothing was demanded of its signature", request.URL)
	}
	return response.ETag, response.Signer, nil
}
