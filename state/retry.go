package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Retry is how a [Store] that is on other machines leads and watches: it goes on when
// they were away.
type Retry struct {
	In      string        // where the store is, for people: "etcd"
	Longest time.Duration // between two tries
	Log     *slog.Logger
}

// Lead implements Store: lead gives a term, or is tried again.
func (r Retry) Lead(ctx context.Context, name string, lead func(ctx context.Context, name string) (Term, error)) (Term, error) {
	t, err := retry(ctx, r.pause(), func() (Term, error) { return lead(ctx, name) }, func(err error, again time.Duration) {
		r.Log.Warn("nobody can be asked who leads; it is tried again", "name", name, "error", err, "in", again)
	})
	if err != nil {
		return nil, fmt.Errorf("lead %s: %w", name, ctx.Err())
	}
	return t, nil
}

// Watch watches until ctx ends, or run gives ErrCompacted, which is given back, or no
// error, as whoever watches wants no more. What else befalls run has it called again;
// pauses between that grow until it says that it has told something new.
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
