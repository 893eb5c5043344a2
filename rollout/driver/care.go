package driver

import (
	"context"
	"sync"
	"time"

	"wasmxds/rollout"
	"wasmxds/state"
)

// unreadable records that the state can't be read. A replica that follows is then on its
// own.
func (d *Driver) unreadable(ctx context.Context, why error) {
	r := d.role
	r.readable, r.sure, r.answered, r.behind = time.Time{}, false, time.Time{}, time.Time{}
	if r.stand != Follows {
		return
	}
	d.log.Error("how far changes are can't be read: what is known stays in force, and no wave begins", "error", why)
	values, err := copied(ctx, d.o.Replicas.Copy)
	if err != nil {
		d.log.Error("the copy of it can't be read either", "error", err)
		return
	}
	d.care(ctx, values)
}

// care lets this replica serve its Envoys on its own, from values. What it saves goes to
// the copy.
func (d *Driver) care(ctx context.Context, values map[string][]byte) {
	r := d.role
	d.leave()
	caring, over := context.WithCancel(ctx)
	w := state.NewWriter(d.o.Replicas.Copy, d.log)
	l := newLead(w.View(keys))
	l.over, l.ended = over, make(chan struct{})
	d.lead, r.stand = l, Cares
	r.cares.Go(func() {
		defer close(l.ended)
		var both sync.WaitGroup
		both.Go(func() { w.Run(caring) })
		d.serve(caring, l)
		both.Wait()
		if l.given {
			d.o.Replicas.GiveUp()
		}
	})
	d.begin(rollout.New(d.o.Options, values))
	d.tellMissing()
	d.goOn()
	d.tellMachine()
	d.stands()
}

// endCare ends that, and waits until everything is saved in the copy.
func (d *Driver) endCare(ctx context.Context) error {
	var l *lead
	err := d.call(ctx, func() {
		if d.role.stand == Cares {
			l = d.lead
			l.over()
		}
	})
	if l != nil {
		<-l.ended
	}
	return err
}
