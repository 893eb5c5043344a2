// Package driver runs a [rollout.Machine]: it owns the goroutine, reads the clock, and
// saves the state.
//
// Start with [New]. Events of Envoys and definitions go in through [Driver.Tell], commands
// through [Driver.Do]. Plans come out through Options.Publish.
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

// Options configure a Driver. Its functions are called by one goroutine, which waits for
// them, except for Look.
type Options struct {
	rollout.Options
	// State stores what must survive a restart; nil: nothing does. With Replicas,
	// Replicas.Copy is used instead.
	State *state.Writer
	// Replicas describes the other replicas that Envoys may be connected to; nil: there are
	// none, and the Driver always leads.
	Replicas *Replicas
	// Publish is called with each new plan.
	Publish func(*rollout.Plan)
	// Watch is called with the Envoys to observe. It returns their signals from before a
	// wave that begins, which are saved for the next start; nil: nothing is observed.
	Watch func(rollout.Watch) (told []byte)
	// Heard is called with the events of Envoys of all replicas while this one leads,
	// before they are processed; nil: it is not called.
	Heard func(rollout.Event)
	// Told is called with what happens; nil: it is only logged.
	Told func(rollout.Told)
	// Look asks a judge, repeatedly; nil: there are no judges. Any number of judges are
	// asked concurrently, but none about the same change twice at a time. Look must bound
	// how long one takes; its context ends when its answer would no longer count. An empty
	// verdict means that there is none yet.
	Look func(context.Context, rollout.Look) (verdict rollout.Verdict, words string)
	// Rest is the pause after processing events, before those that came meanwhile are
	// processed: many Envoys report at once, and each wake-up costs.
	Rest time.Duration
	Log  *slog.Logger // default slog.Default()
}

// Driver runs a Machine.
type Driver struct {
	o    Options
	log  *slog.Logger
	m    *rollout.Machine // used only by Run
	lead *lead            // used only by Run; nil: the machine follows
	role *role            // used only by Run; nil: there are no Replicas

	events  *queue.Queue[rollout.Event]
	calls   chan func()   // to be called by Run
	judge   chan struct{} // holds a token when there may be other judges to ask
	modules atomic.Pointer[[]string]
	began   []*module.Filter
}

// keys is the prefix of the rollout's keys in the state.
const keys = "rollout/"

// New returns a Driver that continues from the saved state.
func New(ctx context.Context, o Options) (*Driver, error) {
	d := &Driver{o: o, log: cmp.Or(o.Log, slog.Default()), events: queue.New[rollout.Event](o.Rest), calls: make(chan func()),
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

// begin replaces the machine.
func (d *Driver) begin(m *rollout.Machine, errs []error) {
	for _, err := range errs {
		d.log.Error("of how far changes are something can't be used", "error", err)
	}
	d.m = m
	if d.role != nil {
		d.role.compared, d.role.last = false, nil
	}
	d.keepModules()
}

// Tell passes an event to the machine. It never blocks.
func (d *Driver) Tell(e rollout.Event) { d.events.Add(e) }

// Do executes a command, here or on the leader, and waits until the result is saved.
// Earlier events are processed first.
func (d *Driver) Do(ctx context.Context, c rollout.Command) error {
	if d.o.Replicas != nil {
		return d.doWith(ctx, c)
	}
	return d.do(ctx, c, func() bool { return true })
}

// do executes a command on this replica, if may returns true.
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

// Status returns the status of all changes, as the leader knows it.
func (d *Driver) Status(ctx context.Context) (rollout.Status, error) {
	if d.o.Replicas != nil {
		return d.statusWith(ctx)
	}
	return d.status(ctx, func() bool { return true })
}

// status returns the status of all changes as this replica knows it, if may returns true.
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
		s.Stalled = "other servers don't report their Envoys: " + strings.Join(unheard, ", ")
	}
	return s, nil
}

// Modules returns the SHA-256 of the modules that may be needed again.
func (d *Driver) Modules() []string { return *d.modules.Load() }

// Began returns the filters of the base and of changes in the saved state that the Driver
// began with.
func (d *Driver) Began() []*module.Filter { return d.began }

func (d *Driver) keepModules() {
	modules := d.m.Modules()
	d.modules.Store(&modules)
}

// call lets Run call do, after all earlier events.
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
