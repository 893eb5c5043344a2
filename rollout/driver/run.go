package driver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wasmxds/rollout"
	"wasmxds/state"
)

// Run runs the machine until ctx ends.
func (d *Driver) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if d.o.Replicas == nil {
		l := d.lead
		all.Go(func() { d.serve(ctx, l) })
		d.run(ctx)
		return
	}
	defer d.role.cares.Wait()
	for _, do := range []func(context.Context){d.campaign, d.follow, d.tellLeader, d.listen} {
		all.Go(func() { do(ctx) })
	}
	d.run(ctx)
}

// serve runs what a leading machine needs besides its steps, until ctx ends.
func (d *Driver) serve(ctx context.Context, l *lead) {
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { d.write(ctx, l) })
	if d.o.Look != nil {
		both.Go(func() { d.look(ctx) })
	}
}

func (d *Driver) run(ctx context.Context) {
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.events.Some():
			d.told()
		case do := <-d.calls:
			d.told()
			do()
		case <-timer.C:
			d.giveDue()
			_ = d.step(rollout.Tick{}) // only commands are refused
		}
		if wake := sooner(d.m.Wake(), d.due()); wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
	}
}

// told processes all events so far.
func (d *Driver) told() {
	for _, e := range d.events.Take() {
		if d.role != nil {
			d.observe(e)
		} else {
			_ = d.step(e) // only commands are refused
		}
	}
}

// step makes one step and carries out its results.
func (d *Driver) step(e rollout.Event) error {
	if d.o.Heard != nil && d.lead != nil {
		d.o.Heard(e)
	}
	switch e.(type) {
	case rollout.Wanted, rollout.Rewritten:
		if d.role != nil {
			d.role.compared = false
		}
	}
	ready := d.m.Step(time.Now(), e)
	if ready.Save != nil {
		d.lead.kept.PutAll(ready.Save.Values)
		d.keepModules()
		if ready.Save.Urgent {
			d.lead.kept.Hurry() // even while an earlier batch is being written
			d.lead.hurry(ready.Save.Seq)
		}
	}
	for _, w := range ready.Watch { // before any Envoy can report what it has
		d.lead.note(w)
		if d.o.Watch == nil {
			continue
		}
		if told := d.o.Watch(w); told != nil {
			d.Tell(rollout.ToldBefore{Watch: w, Told: told})
		}
	}
	if ready.Plan != nil {
		d.give(ready)
	}
	for _, t := range ready.Told {
		if t.Change == "" {
			d.log.Info("rollout: " + t.Words)
		} else {
			d.log.Info("rollout: "+t.Words, "change", t.Change, "of", t.Title, "state", t.State)
		}
		if d.o.Told != nil {
			d.o.Told(t)
		}
	}
	if len(ready.Told) > 0 || len(ready.Watch) > 0 || ready.Plan != nil {
		select {
		case d.judge <- struct{}{}:
		default: // already requested
		}
	}
	return ready.Err
}

// Limits of the pause before another attempt to save.
const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

// lead is the state of a Driver whose machine does not follow another.
type lead struct {
	kept    state.View
	written chan uint64            // the newest batch to be saved at once
	stalled atomic.Pointer[string] // why nothing can be saved
	watched map[wave]rollout.Watch
	over    func() // ends the lead

	// See ahead.go.
	waits waits
	ahead uint64 // Envoys have what this batch contains, and it is not saved yet; 0: none

	// Of a replica on its own.
	ended chan struct{} // closed when everything was written to the copy
	given bool          // these writes are to be given up
}

// wave is a wave of a change. While one is in progress, the next one may be observed too.
type wave struct {
	change string
	number int
}

func newLead(kept state.View) *lead {
	return &lead{kept: kept, over: func() {}, written: make(chan uint64, 1), watched: map[wave]rollout.Watch{}}
}

// why returns why no wave begins; "": nothing prevents it.
func (l *lead) why() string {
	if l == nil {
		return ""
	}
	if why := l.stalled.Load(); why != nil {
		return *why
	}
	return ""
}

// hurry requests that a batch, with all earlier ones, is saved at once.
func (l *lead) hurry(seq uint64) {
	select {
	case other := <-l.written: // saving the newer one of them includes both
		seq = max(seq, other)
	default:
	}
	l.written <- seq
}

// note remembers a Watch, which must be ended when this replica no longer leads.
func (l *lead) note(w rollout.Watch) {
	of := wave{w.Change, w.Wave}
	if l.watched[of] = w; w.Phase == rollout.After {
		delete(l.watched, of)
	}
}

// write saves the batches that waves wait for, and reports to the machine when they are
// saved. Until then, waves stand still.
func (d *Driver) write(ctx context.Context, l *lead) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, lastRetry
	var seq uint64
	for {
		select {
		case <-ctx.Done():
			return
		case seq = <-l.written:
		}
		for {
			err := l.kept.Flush(ctx)
			if err == nil {
				pause.Reset()
				l.stalled.Store(nil)
				if d.call(ctx, func() { d.saved(l, seq) }) != nil {
					return
				}
				break
			}
			if errors.Is(err, state.ErrDeposed) {
				l.over()
			}
			if ctx.Err() != nil {
				return
			}
			why := "the progress of changes can't be saved: " + err.Error()
			l.stalled.Store(&why)
			again := pause.NextBackOff()
			d.log.Error("no wave begins: "+why, "again in", again)
			if !wait(ctx, again) {
				return
			}
		}
	}
}

// saved passes Saved to the machine, unless it was replaced meanwhile.
func (d *Driver) saved(l *lead, seq uint64) {
	if d.lead == l {
		_ = d.step(rollout.Saved{Seq: seq}) // only commands are refused
		d.giveWritten(seq)
	}
}

// wait waits, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
