package state

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Run writes until ctx ends, and then writes once what is left.
func (w *Writer) Run(ctx context.Context) {
	var pushing sync.WaitGroup
	pushing.Go(func() { w.pushes(ctx) })
	w.notes(ctx)
	pushing.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	if err := w.Flush(last); err != nil && !errors.Is(err, ErrDeposed) {
		w.log.Error("the last change was not written", "error", err)
	}
}

// notes notes what is pending, even while what was noted earlier can't be pushed.
func (w *Writer) notes(ctx context.Context) {
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	armed := false
	for {
		wake, hurries := w.wake, false
		if armed {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
			timer.Reset(w.delay)
			armed = true
			continue
		case <-w.hurry:
			hurries = true
		case <-timer.C:
		}
		armed = false
		timer.Stop()
		_ = w.note(ctx) // only ctx can end it
		if hurries {
			tell(w.now)
		}
	}
}

// pushes pushes what is noted. It retries after failures, at growing intervals.
func (w *Writer) pushes(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, lastRetry
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	waits := false
	for {
		due := w.due
		if waits {
			due = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
		case <-w.now:
		case <-timer.C:
		}
		waits = false
		timer.Stop()
		err := w.push(ctx)
		switch {
		case err == nil:
			pause.Reset()
		case errors.Is(err, ErrDeposed):
			w.log.Info("the last change was not written: another replica leads", "error", err)
			return
		case ctx.Err() == nil:
			again := pause.NextBackOff()
			w.log.Error("can't write the state; retrying", "error", err, "in", again)
			timer.Reset(again)
			waits = true
		}
	}
}
