package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Retry implements Lead and Watch for a [Store] on other machines: it tries again when they
// were unavailable.
type Retry struct {
	In      string        // where the store is, for people: "etcd"
	Longest time.Duration // between two attempts
	Log     *slog.Logger
}

// Lead implements Store. It calls lead until that returns a term or ctx ends.
func (r Retry) Lead(ctx context.Context, name string, lead func(ctx context.Context, name string) (Term, error)) (Term, error) {
	t, err := retry(ctx, r.pause(), func() (Term, error) { return lead(ctx, name) }, func(err error, again time.Duration) {
		r.Log.Warn("nobody can be asked who leads; it is tried again", "name", name, "error", err, "in", again)
	})
	if err != nil {
		return nil, fmt.Errorf("lead %s: %w", name, ctx.Err())
	}
	return t, nil
}

// Watch calls run until ctx ends or run returns nil, because its consumer wants no more
// events, or ErrCompacted, which Watch returns. After any other error it calls run again.
// The pauses in between grow until run reports that it made progress.
func (r Retry) Watch(ctx context.Context, run func() (ahead bool, err error)) error {
	pause := r.pause()
	_, err := retry(ctx, pause, func() (struct{}, error) {
		ahead, err := run()
		if ahead {
			pause.Reset()
		}
		if errors.Is(err, ErrCompacted) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, func(err error, again time.Duration) {
		r.Log.Warn("the state in "+r.In+" can't be watched; it is tried again", "error", err, "in", again)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r Retry) pause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = r.Longest
	return pause
}

func retry[T any](ctx context.Context, pause backoff.BackOff, try func() (T, error), failed backoff.Notify) (T, error) {
	return backoff.Retry(ctx, try, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(failed))
}
