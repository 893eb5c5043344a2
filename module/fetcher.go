package module

import (
	"context"
	"io"
	"time"
)

// Fetcher fetches modules from one kind of origin. It makes one attempt; the
// [Resolver] retries. Implementations must be safe for concurrent use.
type Fetcher interface {
	Fetch(context.Context, Request) (*Response, error)
}

// Request describes what to fetch.
type Request struct {
	URL        string
	PullSecret string // as in the definition; for oci only
	// Known are the validators of the content that is already present; zero if
	// there is none.
	Known Validators
	// Signed is who must have signed the module; nil: nobody.
	Signed Requirement
}

// Validators identify the content of a URL, as in HTTP.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// Response is the response of an origin.
type Response struct {
	// Body is the module. The caller must close it. It is nil if the content
	// still matches Request.Known. Its errors describe what failed.
	Body io.ReadCloser
	Validators
	Signer string // who signed it, as Request.Signed requires
}

// delayed is an error of an origin that says when to retry.
type delayed interface {
	error
	RetryAfter() time.Duration
}
