package module

import (
	"context"
	"io"
	"time"
)

// Fetcher gets modules from one kind of origin. It makes one attempt; the
// [Resolver] repeats it. Implementations are safe for concurrent use.
type Fetcher interface {
	Fetch(context.Context, Request) (*Response, error)
}

// Request says what to fetch.
type Request struct {
	URL        string
	PullSecret string // as in the definition; for oci only
	// Known is what the origin said of the content that is here already; zero
	// where nothing is.
	Known Validators
	// Signed is by whom the module must be signed; nil: by nobody.
	Signed Requirement
}

// Validators tell one content of a URL from another, as HTTP has them.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// Response is what an origin has.
type Response struct {
	// Body is the module, to be closed by the caller; nil when the content is
	// still the one that Request.Known is of. Its errors say what failed.
	Body io.ReadCloser
	Validators
	Signer string // of what Request.Signed demands
}

// delayed is an error of an origin that says when to come back.
type delayed interface {
	error
	RetryAfter() time.Duration
}
