package dir

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"

	"wasmxds/files"
	"wasmxds/source"
	"wasmxds/source/internal/burst"
)

// loop examines the directory after events, and from time to time.
type loop struct {
	path                    string
	quiet, max, poll, audit time.Duration
	roots                   files.Roots
	watch                   *watch
	table                   *table
	send                    func(source.Batch)
	log                     *slog.Logger

	burst   burst.Burst
	rescans []chan<- struct{} // callers that wait for the end of the burst
	dirty   bool              // the table has changed since the last batch
	sent    bool
}

func (l *loop) run(ctx context.Context, rescan <-chan chan<- struct{}) {
	events, errs := l.watch.changes()
	start := time.Now()
	l.burst = burst.Burst{First: start, Last: start.Add(-l.quiet)} // due
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-events:
			if !l.watch.concerns(ev) {
				continue
			}
			l.burst.Touch(time.Now())
		case err := <-errs:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				l.log.Warn("change notifications for files were lost: reading all files again")
			} else {
				l.log.Warn("watch files", "error", err)
			}
			l.burst.Touch(time.Now())
		case done := <-rescan:
			l.rescans = append(l.rescans, done)
			l.table.distrust = true
			l.burst.Touch(time.Now())
		case <-timer.C:
		}
		timer.Reset(l.step(time.Now()))
	}
}

// step does what is due at this time, and returns how long to wait before the
// next call.
func (l *loop) step(now time.Time) time.Duration {
	if l.burst.Open() {
		if wait := l.burst.Due(l.quiet, l.max).Sub(now); wait > 0 {
			return wait
		}
	}
	late := l.burst.Open() && now.Sub(l.burst.First) >= l.max
	got := l.table.take(walk(l.path, l.roots, l.watch), now, late)
	l.dirty = l.dirty || got.changed
	if got.changed && (!l.watch.complete() || !l.burst.Open()) {
		// There was no event: this may be the first of several changes.
		l.burst.Touch(now)
		if wait := l.burst.Due(l.quiet, l.max).Sub(now); wait > 0 {
			return wait
		}
	}
	if got.open && l.burst.Open() && !late {
		return min(l.quiet, l.burst.First.Add(l.max).Sub(now))
	}
	l.settle(now)
	switch {
	case got.open:
		return l.max
	case l.watch.complete():
		return l.audit
	default:
		return l.poll
	}
}

// settle ends a burst and sends what has changed.
func (l *loop) settle(now time.Time) {
	first := l.burst.First
	if first.IsZero() {
		first = now
	}
	l.burst = burst.Burst{}
	if l.dirty || !l.sent {
		l.dirty, l.sent = false, true
		for _, b := range l.table.batches() {
			b.Changed, b.Began = first, now
			l.send(b)
		}
	}
	if len(l.rescans) > 0 {
		l.send(source.Batch{Source: source.Dir}) // when it is received, the previous batch has been processed
	}
	for _, done := range l.rescans {
		done <- struct{}{}
	}
	l.rescans = nil
}
