// Package oci fetches Wasm modules from container registries.
//
// Start with [New], which returns a Fetcher for a module.Resolver. It supports
// the common layouts of published modules:
//
//   - artifacts, whose layer is the module, uncompressed or gzipped; its media
//     type may be one for Wasm or any other, such as a client's default;
//   - images (docker's and OCI's, "compat"), with a file /plugin.wasm in a
//     layer.
//
// All input is bounded, and blobs are checked against their digests.
package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"wasmxds/module"
)

// Options are the options of [New]. The zero value is valid.
type Options struct {
	// Policy applies to registries, the hosts that they redirect to, and their
	// token services.
	Policy module.Policy
	// PlainHTTP lists registries ("host" or "host:port") that may be used
	// without TLS, in addition to those on loopback addresses.
	PlainHTTP []string
	// Secrets is the folder of the pull secrets that definitions name: files in
	// the format of docker's config.json, or as Kubernetes mounts them
	// (NAME/.dockerconfigjson). Links are followed only within it. "":
	// definitions can't name any.
	Secrets string
	// Elsewhere returns a pull secret that is not a file in that folder. It is
	// called for each fetch. It may be nil.
	Elsewhere func(ctx context.Context, name string) ([]byte, error)
	// Keychain provides the credentials if a definition names no secret;
	// default: docker's config, including credential helpers.
	Keychain authn.Keychain
	// MaxLayer bounds how much of an image's uncompressed layer is searched for
	// the module, in bytes; default 256 MiB.
	MaxLayer int64
}

// Fetcher fetches modules from oci:// URLs. It is safe for concurrent use.
type Fetcher struct {
	options   Options
	transport *http.Transport
	guarded   http.RoundTripper
}

// New returns a Fetcher. The caller must close it.
func New(options Options) *Fetcher {
	if options.Keychain == nil {
		options.Keychain = authn.DefaultKeychain
	}
	options.MaxLayer = cmp.Or(options.MaxLayer, 256<<20)
	f := &Fetcher{options: options, transport: options.Policy.Transport()}
	f.guarded = &guard{f, options.Policy.CheckRequest(f.transport)}
	return f
}

// Close closes idle connections.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

const (
	maxManifest = 4 << 20 // in bytes; also for indexes, tokens and errors
	maxLayers   = 128
	pluginFile  = "plugin.wasm"
)

// Fetch resolves a reference. If its digest is not the known one, Fetch returns
// the module. The ETag is the digest of the manifest or index.
func (f *Fetcher) Fetch(ctx context.Context, request module.Request) (*module.Response, error) {
	if err := f.options.Policy.CheckURL(request.URL); err != nil {
		return nil, err
	}
	ref, err := Parse(request.URL)
	if err != nil {
		return nil, err
	}
	if ref.Digest != "" && ref.Digest == request.Known.ETag {
		return &module.Response{Validators: request.Known}, nil
	}
	response, err := f.fetch(ctx, ref, request)
	if err != nil {
		if content, ok := errors.AsType[*module.ContentError](err); ok {
			return nil, &module.ContentError{Message: fmt.Sprintf("fetch %s: %s", ref, content.Message), Hint: content.Hint}
		}
		if secret, ok := errors.AsType[*secretError](err); ok {
			return nil, fmt.Errorf("fetch %s: %w", ref, secret)
		}
		return nil, fmt.Errorf("fetch %s: %w", ref, told(err))
	}
	return response, nil
}

func (f *Fetcher) fetch(ctx context.Context, ref Reference, request module.Request) (*module.Response, error) {
	keychain := f.options.Keychain
	if request.PullSecret != "" {
		var err error
		if keychain, err = f.secret(ctx, request.PullSecret); err != nil {
			return nil, err
		}
	}
	target, err := ref.remote(f.plain(ref.Registry))
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(keychain),
		remote.WithTransport(f.guarded),
		remote.WithUserAgent("xds-server"),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // the resolver retries
	)
	if err != nil {
		return nil, err
	}
	if request.Known.ETag != "" {
		// Registries need not support HEAD; then GET is used.
		if head, err := puller.Head(ctx, target); err == nil && head.Digest.String() == request.Known.ETag {
			return &module.Response{Validators: request.Known}, nil
		}
	}
	top, err := puller.Get(ctx, target)
	if err != nil {
		return nil, err
	}
	if top.Digest.String() == request.Known.ETag {
		return &module.Response{Validators: request.Known}, nil
	}
	image, err := imageOf(top)
	if err != nil {
		return nil, err
	}
	var signer string
	if request.Signed != nil {
		// This verifies the digests that were resolved above: a tag that moves
		// meanwhile changes nothing.
		chosen, err := image.Digest()
		if err != nil {
			return nil, err
		}
		if signer, err = signedBy(ctx, request.Signed, puller, target.Context(), top.Digest, chosen); err != nil {
			return nil, err
		}
	}
	body, err := f.open(image)
	if err != nil {
		return nil, err
	}
	return &module.Response{
		Signer:     signer,
		Body:       &labelled{body, ref},
		Validators: module.Validators{ETag: top.Digest.String()},
	}, nil
}

// imageOf returns the image that a reference resolves to. In an index, it is
// the one for Wasm, or else for linux/amd64, or else the first.
func imageOf(top *remote.Descriptor) (v1.Image, error) {
	if !top.MediaType.IsIndex() {
		return top.Image()
	}
	index, err := top.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	best := -1
	rank := 0
	for i, m := range manifest.Manifests {
		if r := rankOf(m); r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil, &module.ContentError{Message: "the index has no image"}
	}
	return index.Image(manifest.Manifests[best].Digest)
}

func rankOf(m v1.Descriptor) int {
	p := m.Platform
	switch {
	case !m.MediaType.IsImage(), p != nil && p.OS == "unknown": // such as an attestation
		return 0
	case p != nil && strings.HasPrefix(p.Architecture, "wasm"):
		return 3
	case p != nil && p.OS == "linux" && p.Architecture == "amd64":
		return 2
	}
	return 1
}

// labelled adds the reference to read errors.
type labelled struct {
	io.ReadCloser
	ref Reference
}

func (l *labelled) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("fetch %s: %w", l.ref, told(err))
	}
	return n, err
}

// guard enforces the policy, and bounds the size of responses other than blobs.
type guard struct {
	*Fetcher
	next http.RoundTripper
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.plain(r.URL.Host) {
		return nil, &module.ContentError{
			Message: fmt.Sprintf("registry %s must use HTTPS", r.URL.Host),
			Hint:    "list it among those for plain http if it has no TLS",
		}
	}
	first := r
	for first.Response != nil { // it is a redirect
		first = first.Response.Request
	}
	response, err := g.next.RoundTrip(r)
	if err == nil && !strings.Contains(first.URL.Path, "/blobs/") {
		response.Body = http.MaxBytesReader(nil, response.Body, maxManifest)
	}
	return response, err
}

// plain reports whether a registry may be used without TLS.
func (f *Fetcher) plain(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.Contains(f.options.PlainHTTP, hostport) || slices.Contains(f.options.PlainHTTP, host)
}
