// Package oci fetches Wasm modules from container registries.
//
// Start with [New], which gives a Fetcher for a module.Resolver. It reads the
// layouts that people publish modules in:
//
//   - artifacts, whose layer is the module (application/wasm,
//     application/vnd.wasm.content.layer.v1+wasm,
//     application/vnd.module.wasm.content.layer.v1+wasm);
//   - images (docker's and OCI's, "compat"), with a file /plugin.wasm in a
//     layer.
//
// Everything that is read is bounded, and blobs are checked against their
// digests.
package oci

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wasmxds/module"
)

// Options are for [New]; the zero value is useful.
type Options struct {
	// Policy is for registries, the hosts that they redirect to, and their
	// token services.
	Policy module.Policy
	// PlainHTTP lists registries ("host" or "host:port") that are reached
	// without TLS. Those on this machine's loopback addresses may be, too.
	PlainHTTP []string
	// Secrets is the folder of pull secrets that definitions name: files as
	// docker's config.json, also as Kubernetes mounts them
	// (NAME/.dockerconfigjson). "": definitions can only give absolute paths.
	Secrets string
	// Keychain has the credentials where a definition names no secret;
	// default: docker's config, credential helpers included.
	Keychain authn.Keychain
	// MaxLayer is how much is read of an image's unpacked layer in search of
	// the module, in bytes; default 256 MiB.
	MaxLayer int64
}

// Fetcher fetches modules from oci:// URLs. It is safe for concurrent use.
type Fetcher struct {
	options   Options
	transport *http.Transport
	guarded   http.RoundTripper
}

// New makes a Fetcher, to be closed after use.
func New(options Options) *Fetcher {
	if options.Keychain == nil {
		options.Keychain = authn.DefaultKeychain
	}
	options.MaxLayer = cmp.Or(options.MaxLayer, 256<<20)
	f := &Fetcher{options: options, transport: options.Policy.Transport()}
	f.guarded = &guard{f, options.Policy.CheckRequest(f.transport)}
	return f
}

// Close closes connections that are not in use.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

const (
	maxManifest = 4 << 20 // bytes; also of indexes, tokens and errors
	maxLayers   = 128
	pluginFile  = "plugin.wasm"
)

// Fetch resolves a reference; if its digest is not the known one, it gives
// the module in it. The ETag is the digest of the manifest or index.
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
		return nil, fmt.Errorf("fetch %s: %w", ref, err)
	}
	return response, nil
}

func (f *Fetcher) fetch(ctx context.Context, ref Reference, request module.Request) (*module.Response, error) {
	keychain := f.options.Keychain
	if request.PullSecret != "" {
		var err error
		if keychain, err = f.secret(request.PullSecret); err != nil {
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
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // the resolver tries again
	)
	if err != nil {
		return nil, err
	}
	if request.Known.ETag != "" {
		// Registries need not answer HEAD; then GET tells.
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
	body, err := f.open(image)
	if err != nil {
		return nil, err
	}
	return &module.Response{
		Body:       &labelled{body, ref},
		Validators: module.Validators{ETag: top.Digest.String()},
	}, nil
}

// imageOf gives the image that a reference means. Of an index, that is the
// one for Wasm, or else for linux/amd64, or else the first.
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
	case !m.MediaType.IsImage(), p != nil && p.OS == "unknown": // e.g. an attestation
		return 0
	case p != nil && strings.HasPrefix(p.Architecture, "wasm"):
		return 3
	case p != nil && p.OS == "linux" && p.Architecture == "amd64":
		return 2
	}
	return 1
}

// open finds the module in an image.
func (f *Fetcher) open(image v1.Image) (io.ReadCloser, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	if n := len(manifest.Layers); n > maxLayers {
		return nil, &module.ContentError{Message: fmt.Sprintf("the image has %d layers, at most %d are read", n, maxLayers)}
	}
	var modules []v1.Hash
	var kinds []string
	for _, layer := range manifest.Layers {
		if slices.Contains(wasmTypes(), layer.MediaType) {
			modules = append(modules, layer.Digest)
		}
		kinds = append(kinds, string(layer.MediaType))
	}
	switch {
	case len(modules) == 1:
		layer, err := image.LayerByDigest(modules[0])
		if err != nil {
			return nil, err
		}
		return layer.Compressed() // as it is
	case len(modules) > 1:
		return nil, &module.ContentError{Message: fmt.Sprintf("the artifact has %d modules", len(modules)), Hint: "publish each under a name of its own"}
	}
	for _, layer := range slices.Backward(manifest.Layers) {
		if !layer.MediaType.IsLayer() {
			continue
		}
		body, err := f.search(image, layer)
		if body != nil || err != nil {
			return body, err
		}
	}
	return nil, &module.ContentError{
		Message: fmt.Sprintf("there is no module in it (its layers are: %s)", strings.Join(kinds, ", ")),
		Hint:    "an image needs a file /" + pluginFile + ", an artifact a layer of type " + string(wasmTypes()[0]),
	}
}

func wasmTypes() []types.MediaType {
	return []types.MediaType{
		"application/vnd.module.wasm.content.layer.v1+wasm",
		"application/vnd.wasm.content.layer.v1+wasm",
		"application/wasm",
	}
}

// search looks for the module in a layer of an image; nil: it isn't there.
func (f *Fetcher) search(image v1.Image, descriptor v1.Descriptor) (io.ReadCloser, error) {
	layer, err := image.LayerByDigest(descriptor.Digest)
	if err != nil {
		return nil, err
	}
	unpacked, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	limited := &limited{r: unpacked, left: f.options.MaxLayer}
	archive := tar.NewReader(limited)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil, unpacked.Close()
		}
		if err != nil {
			unpacked.Close()
			return nil, err
		}
		switch path.Clean("/" + header.Name) {
		case "/" + pluginFile:
			if header.Typeflag != tar.TypeReg {
				unpacked.Close()
				return nil, &module.ContentError{Message: "its /" + pluginFile + " is not a regular file"}
			}
			return &member{archive, limited, unpacked}, nil
		case "/.wh." + pluginFile, "/.wh..wh..opq":
			unpacked.Close()
			return nil, &module.ContentError{Message: "its uppermost layers remove /" + pluginFile}
		}
	}
}

// member is a file in a layer. At its end, the rest of the layer is read, so
// that its digest is checked.
type member struct {
	file  io.Reader
	rest  io.Reader
	layer io.Closer
}

func (m *member) Read(p []byte) (int, error) {
	n, err := m.file.Read(p)
	if err == io.EOF {
		if _, rest := io.Copy(io.Discard, m.rest); rest != nil {
			err = rest
		}
	}
	return n, err
}

func (m *member) Close() error { return m.layer.Close() }

// limited fails, rather than ends, where too much is read.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, &module.ContentError{Message: "a layer of the image is too large to look for a module in it"}
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// labelled says in errors what was being read.
type labelled struct {
	io.ReadCloser
	ref Reference
}

func (l *labelled) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("fetch %s: %w", l.ref, err)
	}
	return n, err
}

// guard keeps requests to what is allowed, and small what is to be small.
type guard struct {
	*Fetcher
	next http.RoundTripper
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.plain(r.URL.Host) {
		return nil, &module.ContentError{
			Message: fmt.Sprintf("registry %s is only asked by https", r.URL.Host),
			Hint:    "list it among those for plain http if it has no TLS",
		}
	}
	first := r
	for first.Response != nil { // it is redirected
		first = first.Response.Request
	}
	response, err := g.next.RoundTrip(r)
	if err == nil && !strings.Contains(first.URL.Path, "/blobs/") {
		response.Body = http.MaxBytesReader(nil, response.Body, maxManifest)
	}
	return response, err
}

// plain says whether a registry may be asked without TLS.
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
