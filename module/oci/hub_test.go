package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// hub is a registry server.
type hub struct {
	*httptest.Server
	host   string
	client *http.Transport
	gets   atomic.Int64 // number of GET requests for manifests and blobs
}

func newHub(t *testing.T, secure bool, wrap func(http.Handler) http.Handler) *hub {
	t.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		inner = wrap(inner)
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") > 2 {
			h.gets.Add(1)
		}
		inner.ServeHTTP(w, r)
	})
	if secure {
		h.Server = httptest.NewUnstartedServer(counted)
		h.Config.ErrorLog = log.New(io.Discard, "", 0)
		h.StartTLS()
	} else {
		h.Server = httptest.NewServer(counted)
	}
	h.client = h.Server.Client().Transport.(*http.Transport)
	t.Cleanup(h.Close)
	h.host = h.Listener.Addr().String()
	return h
}

// push pushes an image or index under a name, and returns its URL.
func (h *hub) push(t *testing.T, named string, what remote.Taggable, options ...remote.Option) string {
	t.Helper()
	ref, err := name.ParseReference(h.host + "/" + named)
	if err != nil {
		t.Fatal(err)
	}
	options = append(options, remote.WithTransport(h.client))
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what, options...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return "oci://" + h.host + "/" + named
}

func artifact(t *testing.T, kinds ...types.MediaType) v1.Image {
	t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for i, kind := range kinds {
		var err error
		if image, err = mutate.Append(image, mutate.Addendum{
			Layer: static.NewLayer([]byte(wasm+strings.Repeat(" ", i)), kind), MediaType: kind,
		}); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// raw returns an image with layers of the given contents, all of one media
// type.
func raw(t *testing.T, kind types.MediaType, contents ...string) v1.Image {
	t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, content := range contents {
		image = appended(t, image, static.NewLayer([]byte(content), kind), kind)
	}
	return image
}

// typed returns an image with a layer under another media type than its own.
func typed(t *testing.T, layer v1.Layer, kind types.MediaType) v1.Image {
	t.Helper()
	return appended(t, empty.Image, layer, kind)
}

func appended(t *testing.T, image v1.Image, layer v1.Layer, kind types.MediaType) v1.Image {
	t.Helper()
	image, err := mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: kind})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func packed(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, content)
	w.Close()
	return b.String()
}

// file is a file in a layer.
type file struct {
	name, content string
	link          bool
}

func layer(t *testing.T, packed bool, files ...file) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	var to io.WriteCloser = struct {
		io.Writer
		io.Closer
	}{&b, io.NopCloser(nil)}
	if packed {
		to = gzip.NewWriter(&b)
	}
	archive := tar.NewWriter(to)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.link {
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, f.content
		}
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if !f.link {
			io.WriteString(archive, f.content)
		}
	}
	archive.Close()
	if packed {
		to.Close()
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func image(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	i, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
