package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wasmxds/module"
)

const wasmMagic = "\x00asm"

// wasmTypes returns the media types of layers that are modules.
func wasmTypes() []types.MediaType {
	return []types.MediaType{
		"application/vnd.module.wasm.content.layer.v1+wasm",
		"application/vnd.wasm.content.layer.v1+wasm",
		"application/wasm",
	}
}

// open returns the module in an image or artifact: the layer with a media type
// for Wasm or, if there is none, the topmost layer that contains a module.
func (f *Fetcher) open(image v1.Image) (io.ReadCloser, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	layers := manifest.Layers
	if n := len(layers); n > maxLayers {
		return nil, &module.ContentError{Message: fmt.Sprintf("the image has %d layers; the limit is %d", n, maxLayers)}
	}
	wasm := slices.DeleteFunc(slices.Clone(layers), func(l v1.Descriptor) bool { return !slices.Contains(wasmTypes(), l.MediaType) })
	switch {
	case len(wasm) == 1:
		layers = wasm
	case len(wasm) > 1:
		return nil, manyModules(len(wasm))
	}
	var kinds []string
	for i, layer := range slices.Backward(layers) {
		found, kind, err := f.search(image, layer)
		if err != nil {
			return nil, err
		}
		if found == nil {
			kinds = append(kinds, fmt.Sprintf("%s, %s", kindOf(layer.MediaType), kind))
			continue
		}
		if kind == isModule {
			if err := f.only(image, layers[:i]); err != nil {
				found.Close()
				return nil, err
			}
		}
		return found, nil
	}
	slices.Reverse(kinds)
	if len(kinds) == 0 {
		kinds = []string{"none"}
	}
	return nil, &module.ContentError{
		Message: fmt.Sprintf("it contains no module (its layers: %s)", strings.Join(kinds, "; ")),
		Hint:    "an image needs a file /" + pluginFile + ", an artifact a layer of type " + string(wasmTypes()[0]),
	}
}

func manyModules(n int) error {
	return &module.ContentError{Message: fmt.Sprintf("the artifact has %d modules", n), Hint: "publish each as an artifact of its own"}
}

// Kinds of layers, for messages.
const (
	isModule  = "a module"
	isArchive = "an archive without /" + pluginFile
	isEmpty   = "empty"
)

// only returns an error if another layer is a module, too.
func (f *Fetcher) only(image v1.Image, others []v1.Descriptor) error {
	modules := 1
	for _, layer := range others {
		unpacked, err := f.unpack(image, layer)
		if err != nil {
			return err
		}
		if begin, _ := unpacked.Peek(len(wasmMagic)); string(begin) == wasmMagic {
			modules++
		}
		unpacked.Close()
	}
	if modules > 1 {
		return manyModules(modules)
	}
	return nil
}

// unpacked is the uncompressed content of a layer, of bounded size.
type unpacked struct {
	*bufio.Reader
	io.Closer
}

func (f *Fetcher) unpack(image v1.Image, descriptor v1.Descriptor) (*unpacked, error) {
	layer, err := image.LayerByDigest(descriptor.Digest)
	if err != nil {
		return nil, err
	}
	content, err := layer.Uncompressed() // depends on the content, not the media type
	if errors.Is(err, io.EOF) {
		content, err = io.NopCloser(bytes.NewReader(nil)), nil // an empty layer
	}
	if err != nil {
		return nil, err
	}
	return &unpacked{bufio.NewReader(&limited{r: content, left: f.options.MaxLayer}), content}, nil
}

// search looks for the module in a layer, or the layer itself, and returns the
// kind of the layer. The module is nil if it is not there.
func (f *Fetcher) search(image v1.Image, descriptor v1.Descriptor) (io.ReadCloser, string, error) {
	content, err := f.unpack(image, descriptor)
	if err != nil {
		return nil, "", err
	}
	begin, err := content.Peek(512)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		content.Close()
		return nil, "", err
	case len(begin) == 0:
		return nil, isEmpty, content.Close()
	case bytes.HasPrefix(begin, []byte(wasmMagic)):
		return content, isModule, nil
	}
	kind := http.DetectContentType(begin)
	found, err := searchArchive(content)
	switch {
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		// Read to the end: if the registry has sent something else, the digest
		// is wrong.
		_, err := io.Copy(io.Discard, content)
		return nil, kind, errors.Join(err, content.Close())
	case found == nil && err == nil:
		return nil, isArchive, content.Close()
	case err != nil:
		content.Close()
	}
	return found, isArchive, err
}

// searchArchive looks for the module in an archive. It returns nil if it isn't
// there.
func searchArchive(content *unpacked) (io.ReadCloser, error) {
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		switch path.Clean("/" + header.Name) {
		case "/" + pluginFile:
			if header.Typeflag != tar.TypeReg {
				return nil, &module.ContentError{Message: "its /" + pluginFile + " is not a regular file"}
			}
			return &member{archive, content, content}, nil
		case "/.wh." + pluginFile, "/.wh..wh..opq":
			return nil, &module.ContentError{Message: "its uppermost layers remove /" + pluginFile}
		}
	}
}

// member is a file in a layer. At its end, Read reads the rest of the layer, to
// check its digest.
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

// limited returns an error, rather than EOF, beyond a limit.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, &module.ContentError{Message: "a layer of the image is too large to search for a module"}
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
