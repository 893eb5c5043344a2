package module

import (
	"context"
	"time"

	"wasmxds/definition"
)

// longestPause is how long, at most, a trial waits to be repeated because it took long.
const longestPause = time.Minute

// dryRun is a dry run of a module for a filter, including the filter's tests.
type dryRun struct {
	stop context.CancelFunc
	done bool
	err  error
	slow bool // there has been no outcome for slowAfter

	news  int // number of outcomes so far
	round uint
}

// dryRunOf returns the dry run with a key, and starts it if necessary.
func (l *resolution) dryRunOf(key string, f *definition.Filter, m Info, tests []*definition.FilterTest) *dryRun {
	if t := l.trials[key]; t != nil {
		return t
	}
	ctx, stop := context.WithCancel(l.ctx)
	t := &dryRun{stop: stop}
	l.trials[key] = t
	l.group.Go(func() error {
		defer stop()
		l.try(ctx, t, f, m, tests)
		return nil
	})
	l.tellSlow(ctx, func() {
		if !t.done {
			t.slow = true
			t.news++
		}
	})
	return t
}

// tellSlow calls do after SlowAfter, unless ctx ends first: a filter waits, and people should
// know what for.
func (l *resolution) tellSlow(ctx context.Context, do func()) {
	l.group.Go(func() error {
		if l.sleep(ctx, l.SlowAfter) {
			l.post(ctx, do)
		}
		return nil
	})
}

// try runs a module and its tests until there is a verdict.
func (l *resolution) try(ctx context.Context, t *dryRun, f *definition.Filter, m Info, tests []*definition.FilterTest) {
	failing := l.BackOff()
	for {
		start := time.Now()
		err := l.tryOnce(ctx, f, m, tests)
		took := time.Since(start)
		if ctx.Err() != nil {
			return
		}
		if l.Observer.DryRun != nil {
			l.Observer.DryRun(f.Name, took, err)
		}
		l.post(ctx, func() {
			t.done, t.err = true, err
			t.news++
		})
		if isVerdict(err) {
			return
		}
		// A module that always times out must not starve others; but where the machine
		// was busy, or this process was stopped, a listener waits for it.
		if !l.sleep(ctx, max(pause(failing, err), min(10*took, longestPause))) {
			return
		}
	}
}
