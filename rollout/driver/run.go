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

// serve does what a machine that leads needs besides being stepped, until ctx ends.
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

// told steps with all that was told until now.
func (d *Driver) told() {
	for _, e := range d.events.Take() {
		if d.role != nil {
			d.observe(e)
		} else {
			_ = d.step(e) // only commands are refused
		}
	}
}

// step steps, and does what comes of it.
func (d *Driver) step(e rollout.Event) error {
	if d.o.Heard != nil && d.lead != nil {
		d.o.Heard(e)
	}
	ready := d.m.Step(time.Now(), e)
	if ready.Save != nil {
		d.lead.kept.PutAll(ready.Save.Values)
		d.keepModules()
		if ready.Save.Urgent {
			d.lead.kept.Hurry() // whatever is being written
			d.lead.hurry(ready.Save.Seq)
		}
	}
	for _, w := range ready.Watch { // before any Envoy can say what it has
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
		default: // it is told already
		}
	}
	return ready.Err
}

// How long it takes to try again to write.
const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

// lead is what a Driver has whose machine does not follow another.
type lead struct {
	kept    state.View
	written chan uint64            // batches that are to be written down; holds the newest
	stalled atomic.Pointer[string] // why nothing can be written down
	watched map[string]rollout.Watch
	over    func() // ends it

	// See ahead.go.
	waits waits
	ahead uint64 // all have what that batch has, and it is not written down yet; 0: none

	// Of a server on its own.
	ended chan struct{} // closed when all is written to the copy that is to be
	given bool          // ... which is given up
}

func newLead(kept state.View) *lead {
	return &lead{kept: kept, over: func() {}, written: make(chan uint64, 1), watched: map[string]rollout.Watch{}}
}

// why says why no wave begins; "": nothing keeps them.
func (l *lead) why() string {
	if l == nil {
		return ""
	}
	if why := l.stalled.Load(); why != nil {
		return *why
	}
	return ""
}

// hurry has a batch written down at once, with all before it.
func (l *lead) hurry(seq uint64) {
	select {
	case <-l.written: // an older one: what is written has all before
	default:
	}
	l.written <- seq
}

// note remembers whom to look at no more when this server leads no more.
func (l *lead) note(w rollout.Watch) {
	if l.watched[w.Change] = w; w.Phase == rollout.After {
		delete(l.watched, w.Change)
	}
}

// write has what waves wait for written down, and tells when that is done. While it
// can't be, waves stand still.
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
			why := "no wave begins: how far changes are can't be written down: " + err.Error()
			l.stalled.Store(&why)
			again := pause.NextBackOff()
			d.log.Error(why, "again in", again)
			if !wait(ctx, again) {
				return
			}
		}
	}
}

// saved tells the machine that a batch is written down, unless the machine is another
// by now.
func (d *Driver) saved(l *lead, seq uint64) {
	if d.lead == l {
		_ = d.step(rollout.Saved{Seq: seq}) // only commands are refused
		d.giveWritten(seq)
	}
}

// wait waits, and says whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
