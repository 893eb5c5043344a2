// Package ask asks the judges that a policy names what they think of a change:
// queries of a Prometheus, and webhooks.
//
// Start with [Asker.Run], which asks for as long as changes are on their way,
// or [Asker.Look], which asks once. Judges are others' servers: whatever one
// answers, or does not, costs bounded time and memory, and is a verdict or the
// words why there is none. No verdict is not a good one.
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

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// Bounds of what judges may cost.
const (
	Every      = 5 * time.Second // between two looks at one change
	timeout    = 5 * time.Second // of one request, answer included
	atOnce     = 16              // requests
	maxWebhook = 64 << 10        // bytes of an answer
	maxQuery   = 256 << 10
	maxWords   = 300
	maxNodes   = 1000 // that a webhook is told of
)

// Change is one that is on its way, as webhooks are told of it.
type Change struct {
	ID          string       `json:"id"`
	Policy      string       `json:"policy"`
	Wave        int          `json:"wave"` // from 1
	Waves       int          `json:"waves"`
	Definitions []Definition `json:"definitions"`
	Nodes       []string     `json:"nodes"`   // ids of Envoys that are to have it, a thousand at most
	Reached     int          `json:"reached"` // how many these are
}

// Definition is one of the definitions that a change is of.
type Definition struct {
	Kind string `json:"kind"` // "filter", "listener", or a type URL
	Name string `json:"name"`
	What string `json:"what"` // "added", "changed" or "removed"
}

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

// Look asks all judges of a policy once, and gives what each said, in their
// order. It ends when the last has answered or timed out, or ctx ends.
func (a *Asker) Look(ctx context.Context, policy *definition.Rollout, c Change) []rollout.VerdictStatus {
	if len(c.Nodes) > maxNodes {
		c.Nodes = c.Nodes[:maxNodes]
	}
	said := make([]rollout.VerdictStatus, len(policy.Ask))
	var g errgroup.Group
	for i, j := range policy.Ask {
		g.Go(func() error {
			said[i] = a.ask(ctx, j, c)
			said[i].Judge = fmt.Sprintf("%s %d", nameOf(j), i+1)
			said[i].Words = cut(said[i].Words)
			return nil
		})
	}
	_ = g.Wait() // none fails: why there is no verdict is in its words
	return said
}

func nameOf(j definition.Judge) string {
	if j.Prometheus != nil {
		return "prometheus"
	}
	return "webhook"
}

func (a *Asker) ask(ctx context.Context, j definition.Judge, c Change) rollout.VerdictStatus {
	if err := a.slots.Acquire(ctx, 1); err != nil {
		return unable("not asked: %v", err)
	}
	defer a.slots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if j.Prometheus != nil {
		return a.prometheus(ctx, j.Prometheus)
	}
	return a.webhook(ctx, j.Webhook, c)
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

func unable(format string, args ...any) rollout.VerdictStatus {
	return rollout.VerdictStatus{Verdict: rollout.Unable, Words: fmt.Sprintf(format, args...)}
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
