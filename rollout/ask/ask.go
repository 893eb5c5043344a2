// Package ask queries the judges that a policy names: Prometheus servers and webhooks.
//
// Start with [New]; [Asker.Ask] asks one judge once. Judges are servers of others. Whatever
// one answers, or does not, costs bounded time and memory, and results in a verdict or in
// the reason why there is none. No verdict is not a good one.
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

// Limits of what judges may cost.
const (
	timeout    = 5 * time.Second // of one request, including the answer
	atOnce     = 16              // requests
	maxWebhook = 64 << 10        // bytes of an answer
	maxQuery   = 256 << 10
	maxWords   = 300
)

// Asker queries judges. It is safe for concurrent use.
type Asker struct {
	client *http.Client
	slots  *semaphore.Weighted
}

// New returns an Asker that uses transport, which decides to which addresses a URL in a
// definition may connect, and which certificates it trusts. The caller must close the idle
// connections of transport at the end.
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

// Ask asks the judge of a look, one of the policy's own. It first waits for its turn while
// many other judges are being asked. The request itself then takes at most timeout.
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

// do sends a request, and returns the status and the body of the answer.
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

// host returns the host of a judge's URL, without the parts that may be secret.
func host(u *url.URL) string { return u.Host }

// cause returns an error without its URL.
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

// answers returns an error for a status other than success.
func answers(u *url.URL, status int) error {
	if status/100 == 3 {
		return fmt.Errorf("%s answers %d, and redirects are not followed", host(u), status)
	}
	return fmt.Errorf("%s answers %d %s", host(u), status, http.StatusText(status))
}

func unable(format string, args ...any) (rollout.Verdict, string) {
	return rollout.Unable, fmt.Sprintf(format, args...)
}

// cut limits the length of a judge's words.
func cut(words string) string {
	n := 0
	for i := range words {
		if n++; n > maxWords {
			return words[:i] + "…"
		}
	}
	return words
}
