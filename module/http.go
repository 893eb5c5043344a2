package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"wasmxds/definition"
)

// HTTP fetches modules from http and https URLs, through the proxy in the
// environment, if any. Use [NewHTTP] or [Policy.NewHTTP] to create one.
type HTTP struct {
	policy Policy
	client *http.Client
}

// NewHTTP returns a Fetcher with the zero Policy.
func NewHTTP() *HTTP { return Policy{}.NewHTTP() }

// NewHTTP returns a Fetcher that enforces the policy. It follows at most five
// redirects, and none from https to http.
func (p Policy) NewHTTP() *HTTP {
	return &HTTP{p, &http.Client{Transport: p.CheckRequest(p.Transport()), CheckRedirect: checkRedirect}}
}

// Close closes idle connections.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return &redirectError{"more than 5 redirects"}
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return &redirectError{"redirect from https to " + r.URL.Scheme}
	}
	return nil
}

// Fetch sends a GET request, which is conditional if request.Known is set.
func (h *HTTP) Fetch(ctx context.Context, request Request) (*Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, request.URL, nil)
	if err != nil {
		return nil, &ContentError{Message: fmt.Sprintf("fetch module: %s is no URL", definition.MaskURL(request.URL))}
	}
	r.Header.Set("Accept", "application/wasm, application/octet-stream, */*;q=0.5")
	r.Header.Set("User-Agent", "xds-server")
	if request.Known.ETag != "" {
		r.Header.Set("If-None-Match", request.Known.ETag)
	}
	if request.Known.LastModified != "" {
		r.Header.Set("If-Modified-Since", request.Known.LastModified)
	}
	if err := h.policy.check(r.URL); err != nil {
		return nil, err
	}
	what := "fetch " + definition.Mask(r.URL)
	response, err := h.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, Told(err))
	}
	switch {
	case response.StatusCode == http.StatusOK:
		return &Response{
			Body: &body{ReadCloser: response.Body, what: what},
			Validators: Validators{
				ETag:         response.Header.Get("ETag"),
				LastModified: response.Header.Get("Last-Modified"),
			},
		}, nil
	case response.StatusCode == http.StatusNotModified && request.Known != (Validators{}):
		response.Body.Close()
		return &Response{Validators: request.Known}, nil
	}
	response.Body.Close()
	return nil, &statusError{what: what, status: fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode)), after: retryAfter(response.Header)}
}

// body adds what was being fetched to read errors.
type body struct {
	io.ReadCloser
	what string
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%s: the origin closed the connection in the middle: %w", b.what, err)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("%s: %w", b.what, Told(err))
	}
	return n, err
}

// statusError is a response with an unsuccessful status.
type statusError struct {
	what, status string
	after        time.Duration
}

func (e *statusError) Error() string             { return e.what + ": " + e.status }
func (e *statusError) RetryAfter() time.Duration { return e.after }

// retryAfter parses the header in seconds. It ignores a date, in favor of our
// own back-off.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
