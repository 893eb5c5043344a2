// Package ask asks the judges that a policy names what they think of a change:
// queries of a Prometheus, and webhooks.
//
// Start with [New]; [Asker.Ask] asks one of them once. Judges are others' servers:
// whatever one answers, or does not, costs bounded time and memory, and is a
// verdict or the words why there is none. No verdict is not a good one.
package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/semaphore"

	"wasmxds/rollout"
)

// Bounds of what judges may cost.
const (
	timeout    = 5 * time.Second // of one request, answer included
	atOnce     = 16              // requests
	maxWebhook = 64 << 10        // bytes of an answer
	maxQuery   = 256 << 10
	maxWords   = 300
)

// Asker asks. It is safe for concurrent use.
type Asker struct {
	client *http.Client
	slots  *semaphore.Weighted
}

// New makes connections by a transport, which decides to which addresses a URL
// in a definition may lead, and whom to trust. The caller closes its idle ones
// at the end.
func New(transport http.RoundTripper) *Asker {
	return &Asker{
		client: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a judge is where the policy says
			},
		},
		slots: semaphore.NewWeighted(atOnce),
	}
}

// Ask asks the judge of a look, one of the policy's own. The answer takes seconds at
// most from when the judge is asked; while many others are, it waits for its turn.
func (a *Asker) Ask(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
	if err := a.slots.Acquire(ctx, 1); err != nil {
		return unable("not asked: %v", err)
	}
	defer a.slots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var verdict rollout.Verdict
	var words string
	if l.Ask.Prometheus != nil {
		verdict, words = a.prometheus(ctx, l.Ask.Prometheus)
	} else {
		verdict, words = a.webhook(ctx, l)
	}
	return verdict, cut(words)
}

// do sends a request, and gives the status and the body of the answer.
func (a *Asker) do(req *http.Request, limit int64) (int, []byte, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "wasmxds")
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", host(req.URL), cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("read the answer of %s: %w", host(req.URL), cause(err))
	case int64(len(body)) > limit:
		return 0, nil, fmt.Errorf("%s answers more than %d KiB", host(req.URL), limit>>10)
	}
	return resp.StatusCode, body, nil
}

// host is where a judge is, without what may be secret of its URL.
func host(u *url.URL) string { return u.Host }

// cause is an error without the URL that it was for.
func cause(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	var timed net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timed) && timed.Timeout() {
		return fmt.Errorf("no answer within %v", timeout)
	}
	return err
}

// answers says of a status that is no success what it is.
func answers(u *url.URL, status int) error {
	if status/100 == 3 {
		return fmt.Errorf("%s answers %d, and redirects are not followed", host(u), status)
	}
	return fmt.Errorf("%s answers %d %s", host(u), status, http.StatusText(status))
}

func unable(format string, args ...any) (rollout.Verdict, string) {
	return rollout.Unable, fmt.Sprintf(format, args...)
}

// cut bounds what is kept of a judge's words.
func cut(words string) string {
	n := 0
	for i := range words {
		if n++; n > maxWords {
			return words[:i] + "…"
		}
	}
	return words
}
