package driver

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wasmxds/rollout"
)

// Run runs the machine until ctx ends.
func (d *Driver) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { d.write(ctx) })
	if d.o.Look != nil {
		all.Go(func() { d.look(ctx) })
	}
	d.run(ctx)
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
			_ = d.step(rollout.Tick{}) // only commands are refused
		}
		if wake := d.m.Wake(); wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
	}
}

// told steps with all that was told until now.
func (d *Driver) told() {
	for _, e := range d.events.Take() {
		_ = d.step(e) // only commands are refused
	}
}

// step steps, and does what comes of it.
func (d *Driver) step(e rollout.Event) error {
	ready := d.m.Step(time.Now(), e)
	if ready.Save != nil {
		d.kept.PutAll(ready.Save.Values)
		d.keepModules()
		if ready.Save.Urgent {
			select {
			case <-d.written: // an older one: what is written has all before
			default:
			}
			d.written <- ready.Save.Seq
		}
	}
	for _, w := range ready.Watch { // before any Envoy can say what it has
		if d.o.Watch == nil {
			continue
		}
		if told := d.o.Watch(w); told != nil {
			d.Tell(rollout.ToldBefore{Watch: w, Told: told})
		}
	}
	if ready.Plan != nil {
		d.o.Publish(ready.Plan)
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

// write has what waves wait for written down, and tells when that is done. While it
// can't be, waves stand still.
func (d *Driver) write(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, lastRetry
	var seq uint64
	for {
		select {
		case <-ctx.Done():
			return
		case seq = <-d.written:
		}
		for {
			err := d.kept.Flush(ctx)
			if err == nil {
				pause.Reset()
				d.stalled.Store(nil)
				d.Tell(rollout.Saved{Seq: seq})
				break
			}
			if ctx.Err() != nil {
				return
			}
			why := "no wave begins: how far changes are can't be written down: " + err.Error()
			d.stalled.Store(&why)
			again := pause.NextBackOff()
			d.log.Error(why, "again in", again)
			if !wait(ctx, again) {
				return
			}
		}
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
