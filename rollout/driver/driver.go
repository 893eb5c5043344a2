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
	"strings"
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
	// State keeps what is to go on after a restart; nil: nothing does. With Replicas,
	// Replicas.Copy does.
	State *state.Writer
	// Replicas are the other servers that Envoys may be connected to; nil: there are
	// none, and the Driver always leads.
	Replicas *Replicas
	// Publish is told who gets what from now on.
	Publish func(*rollout.Plan)
	// Watch is told which Envoys are to be looked at, and gives what they told before a
	// wave that begins, which is kept for the next start; nil: nobody is.
	Watch func(rollout.Watch) (told []byte)
	// Heard is told what Envoys of all servers have told, while this one leads, before
	// anything comes of it; nil: nobody is.
	Heard func(rollout.Event)
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
	log  *slog.Logger
	m    *rollout.Machine // Run's
	lead *lead            // Run's; nil: the machine follows
	role *role            // Run's; nil: there are no Replicas

	events  *queue.Queue[rollout.Event]
	calls   chan func()   // to be called by Run
	judge   chan struct{} // holds a token when there may be other judges to ask
	modules atomic.Pointer[[]string]
	began   []*module.Filter
}

// keys are where the state is.
const keys = "rollout/"

// New makes a Driver of what was written down.
func New(ctx context.Context, o Options) (*Driver, error) {
	d := &Driver{o: o, log: cmp.Or(o.Log, slog.Default()), events: queue.New[rollout.Event](), calls: make(chan func()),
		judge: make(chan struct{}, 1)}
	if o.Replicas != nil {
		values, err := o.Replicas.known(ctx)
		if err != nil {
			return nil, err
		}
		d.role = newRole()
		d.begin(rollout.Follow(o.Options, values))
		d.began = d.m.Filters()
		return d, nil
	}
	kept := o.State.View(keys)
	entries, err := kept.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read how far changes are: %w", err)
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key] = e.Value
	}
	d.begin(rollout.New(o.Options, values))
	d.lead = newLead(kept)
	d.began = d.m.Filters()
	return d, nil
}

// begin has a machine run.
func (d *Driver) begin(m *rollout.Machine, errs []error) {
	for _, err := range errs {
		d.log.Error("of how far changes are something can't be used", "error", err)
	}
	d.m = m
	d.keepModules()
}

// Tell tells the machine of an event. It never waits.
func (d *Driver) Tell(e rollout.Event) { d.events.Add(e) }

// Do does what people say, or has it done by who leads, and waits until that is
// written down. What was told before comes first.
func (d *Driver) Do(ctx context.Context, c rollout.Command) error {
	if d.o.Replicas != nil {
		return d.doWith(ctx, c)
	}
	return d.do(ctx, c, func() bool { return true })
}

// do does what people say on this server, if it may.
func (d *Driver) do(ctx context.Context, c rollout.Command, may func() bool) error {
	var err error
	var l *lead
	if failed := d.call(ctx, func() {
		if err = ErrNotLeader; may() {
			l, err = d.lead, d.step(c)
		}
	}); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if err := l.kept.Flush(ctx); err != nil {
		return fmt.Errorf("it is done, but would not survive a restart: %w", err)
	}
	return nil
}

// Status tells of all changes, as who leads has it.
func (d *Driver) Status(ctx context.Context) (rollout.Status, error) {
	if d.o.Replicas != nil {
		return d.statusWith(ctx)
	}
	return d.status(ctx, func() bool { return true })
}

// status tells what this server knows of all changes, if it may.
func (d *Driver) status(ctx context.Context, may func() bool) (s rollout.Status, err error) {
	var status func() rollout.Status
	var l *lead
	var unheard []string
	if failed := d.call(ctx, func() {
		if err = ErrNotLeader; may() {
			l, status, unheard, err = d.lead, d.m.Status(time.Now()), d.m.Unheard(), nil
		}
	}); failed != nil {
		return s, failed
	}
	if err != nil {
		return s, err
	}
	s = status()
	switch why := l.why(); {
	case why != "":
		s.Stalled = why
	case l != nil && len(unheard) > 0:
		s.Stalled = "no wave begins: these servers are not heard, and Envoys may be connected to them: " + strings.Join(unheard, ", ")
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
