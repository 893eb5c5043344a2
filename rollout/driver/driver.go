// Package driver runs a [rollout.Machine]: it owns the goroutine, the clock and the
// writing down.
//
// Start with [New]. What Envoys and files say goes in through [Driver.Tell], what
// people say through [Driver.Do]; who gets what comes out through Options.Publish.
package driver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"wasmxds/module"
	"wasmxds/queue"
	"wasmxds/rollout"
	"wasmxds/state"
)

// Options are what a Driver is made of. Its functions are called by one goroutine,
// which waits for them, but for Look.
type Options struct {
	rollout.Options
	// State keeps what is to go on after a restart; nil: nothing does.
	State *state.Writer
	// Publish is told who gets what from now on.
	Publish func(*rollout.Plan)
	// Watch is told which Envoys are to be looked at, and gives what they told before a
	// wave that begins, which is kept for the next start; nil: nobody is.
	Watch func(rollout.Watch) (told []byte)
	// Told is told what happens; nil: it is only logged.
	Told func(rollout.Told)
	// Look asks a judge, again and again; nil: there are none. Any number are asked
	// at the same time, but none of a change twice. It is for Look to bound how long
	// one takes; the context ends when its answer would not count any more. No
	// verdict: it has nothing to say yet.
	Look func(context.Context, rollout.Look) (verdict rollout.Verdict, words string)
	Log  *slog.Logger // default slog.Default()
}

// Driver is a Machine that runs.
type Driver struct {
	o    Options
	kept state.View
	log  *slog.Logger
	m    *rollout.Machine // Run's

	events  *queue.Queue[rollout.Event]
	calls   chan func()   // to be called by Run
	written chan uint64   // batches that are to be written down; holds the newest
	judge   chan struct{} // holds a token when there may be other judges to ask
	modules atomic.Pointer[[]string]
	began   []*module.Filter
	stalled atomic.Pointer[string] // why nothing can be written down
}

// keys are where the state is.
const keys = "rollout/"

// New makes a Driver of what was written down.
func New(ctx context.Context, o Options) (*Driver, error) {
	d := &Driver{o: o, log: cmp.Or(o.Log, slog.Default()), events: queue.New[rollout.Event](), calls: make(chan func()),
		written: make(chan uint64, 1), judge: make(chan struct{}, 1)}
	d.kept = o.State.View(keys)
	entries, err := d.kept.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read how far changes are: %w", err)
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key] = e.Value
	}
	m, errs := rollout.New(o.Options, values)
	for _, err := range errs {
		d.log.Error("of how far changes are something can't be used", "error", err)
	}
	d.m, d.began = m, m.Filters()
	d.keepModules()
	return d, nil
}

// Tell tells the machine of an event. It never waits.
func (d *Driver) Tell(e rollout.Event) { d.events.Add(e) }

// Do does what people say, and waits until that is written down. What was told
// before comes first.
func (d *Driver) Do(ctx context.Context, c rollout.Command) error {
	var err error
	if failed := d.call(ctx, func() { err = d.step(c) }); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if err := d.kept.Flush(ctx); err != nil {
		return fmt.Errorf("it is done, but would not survive a restart: %w", err)
	}
	return nil
}

// Status tells of all changes.
func (d *Driver) Status(ctx context.Context) (rollout.Status, error) {
	var status func() rollout.Status
	if err := d.call(ctx, func() { status = d.m.Status(time.Now()) }); err != nil {
		return rollout.Status{}, err
	}
	s := status()
	if why := d.stalled.Load(); why != nil {
		s.Stalled = *why
	}
	return s, nil
}

// Modules are the SHA-256 of modules that may be needed again.
func (d *Driver) Modules() []string { return *d.modules.Load() }

// Began are the filters that it began with: of the base and of changes, as they were
// written down.
func (d *Driver) Began() []*module.Filter { return d.began }

func (d *Driver) keepModules() {
	modules := d.m.Modules()
	d.modules.Store(&modules)
}

// call has do called by Run, after all that was told before.
func (d *Driver) call(ctx context.Context, do func()) error {
	done := make(chan struct{})
	select {
	case d.calls <- func() { defer close(done); do() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}
