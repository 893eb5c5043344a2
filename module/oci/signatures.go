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

// Who may push into a repository may push any number of signatures. So many are looked
// at, of so many bytes each.
const (
	maxSignatures = 32
	maxSignature  = 256 << 10
)

const (
	bundleType  = "application/vnd.dev.sigstore.bundle" // what begins so, with its version
	payloadType = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// cosign's names of what it puts beside a payload.
const (
	signatureNote   = "dev.cosignproject.cosign/signature"
	certificateNote = "dev.sigstore.cosign/certificate"
	chainNote       = "dev.sigstore.cosign/chain"
	logNote         = "dev.sigstore.cosign/bundle"
)

// signatures finds what may be signatures of an image: bundles that refer to it, and
// what cosign keeps at a tag that is named after it.
type signatures struct {
	puller *remote.Puller
	found  []module.Signature
	left   int // bytes
}

// signedBy gives who has signed what a reference is at now: the manifest or index, or
// the image that was chosen in the index.
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

// bundles finds sigstore's, by the referrers of an image.
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
				break // the others are no bundles of sigstore's
			}
		}
	}
	return nil
}

// cosigns finds those at the tag sha256-DIGEST.sig.
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

// layers are those of an image; none where there is no image.
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

// read gives a blob; nil: it is larger than a signature may be.
func (s *signatures) read(ctx context.Context, repository name.Repository, d v1.Descriptor) ([]byte, error) {
	if d.Size > maxSignature || d.Size < 0 || int(d.Size) > s.left {
		return nil, nil
	}
	layer, err := s.puller.Layer(ctx, repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	content, err := layer.Compressed() // as it is
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

// missing is an error but for one that says that there is none.
func missing(err error) error {
	if answer, ok := errors.AsType[*transport.Error](err); ok && answer.StatusCode == http.StatusNotFound {
		return nil
	}
	return err
}

// Verify gives the digest that a URL is at, and who has signed it as is demanded.
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
