package oci

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"wasmxds/module"
)

// told is like module.Told for registries: it keeps only the status of a
// response, and the error codes of the distribution specification.
func told(err error) error {
	if e := module.Told(err); e != module.ErrNotHTTP {
		return e
	}
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return statusOf(answer)
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return large
	}
	for _, known := range []error{gzip.ErrHeader, gzip.ErrChecksum, tar.ErrHeader} {
		if errors.Is(err, known) {
			return known
		}
	}
	_, blob, wrong := strings.Cut(err.Error(), "error verifying ")
	switch {
	case wrong: // digest, or size
		return errors.New("error verifying " + blob)
	case strings.Contains(err.Error(), "SSRF protection"):
		return errors.New("the registry redirects to a private or link-local address")
	}
	return errors.New("the answer is not that of a registry")
}

func statusOf(answer *transport.Error) error {
	status := fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	for _, d := range answer.Errors {
		if slices.Contains(codes(), d.Code) {
			return fmt.Errorf("the registry answers %s: %s", status, d.Code)
		}
	}
	return fmt.Errorf("the registry answers %s", status)
}

func codes() []transport.ErrorCode {
	return []transport.ErrorCode{
		transport.BlobUnknownErrorCode, transport.DigestInvalidErrorCode, transport.ManifestBlobUnknownErrorCode,
		transport.ManifestInvalidErrorCode, transport.ManifestUnknownErrorCode, transport.ManifestUnverifiedErrorCode,
		transport.NameInvalidErrorCode, transport.NameUnknownErrorCode, transport.SizeInvalidErrorCode, transport.TagInvalidErrorCode,
		transport.UnauthorizedErrorCode, transport.DeniedErrorCode, transport.UnsupportedErrorCode, transport.TooManyRequestsErrorCode,
		transport.UnknownErrorCode, transport.UnavailableErrorCode,
	}
}

// kindOf returns a media type if it looks like one of a layer.
func kindOf(t types.MediaType) string {
	s := string(t)
	known := []string{"application/wasm", "application/json", "application/octet-stream", "application/x-tar", "application/gzip", "text/plain"}
	if strings.HasPrefix(s, "application/vnd.") && len(s) < 100 || slices.Contains(known, s) {
		return s
	}
	return "of another type"
}
