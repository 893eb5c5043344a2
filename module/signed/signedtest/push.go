package signedtest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wasmxds/module"
)

const payloadType = "application/vnd.dev.cosign.simplesigning.v1+json"

// Push pushes signatures of an image, which is given by repository and digest.
// Cosign signatures replace existing ones.
func Push(t testing.TB, transport http.RoundTripper, repository, digest string, signatures ...module.Signature) {
	t.Helper()
	repo, err := name.NewRepository(repository, name.Insecure)
	must(t, err)
	cosigns := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, s := range signatures {
		if s.Bundle != nil {
			refer(t, transport, repo, digest, s.Bundle)
			continue
		}
		notes := map[string]string{"dev.cosignproject.cosign/signature": s.Signature}
		for key, value := range map[string]string{"certificate": s.Certificate, "chain": s.Chain, "bundle": s.Log} {
			if value != "" {
				notes["dev.sigstore.cosign/"+key] = value
			}
		}
		cosigns, err = mutate.Append(cosigns, mutate.Addendum{
			Layer: static.NewLayer(s.Payload, payloadType), MediaType: payloadType, Annotations: notes,
		})
		must(t, err)
	}
	tag := repo.Tag(strings.Replace(digest, ":", "-", 1) + ".sig")
	must(t, remote.Write(tag, cosigns, remote.WithTransport(transport)))
}

// refer pushes a bundle that refers to an image.
func refer(t testing.TB, transport http.RoundTripper, repo name.Repository, digest string, bundle []byte) {
	t.Helper()
	subject, err := remote.Head(repo.Digest(digest), remote.WithTransport(transport))
	must(t, err)
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), bundleType)
	image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(bundle, bundleType), MediaType: bundleType})
	must(t, err)
	referring := mutate.Subject(image, *subject).(v1.Image)
	sum, err := referring.Digest()
	must(t, err)
	must(t, remote.Write(repo.Digest(sum.String()), referring, remote.WithTransport(transport)))
}
