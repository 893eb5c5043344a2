package driver

import (
	"cmp"
	"context"
	"sync"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/roster"
	"wasmxds/state"
)

// hearOwn lets the leader process the reports of its own Envoys.
func (d *Driver) hearOwn() {
	own := d.role.own
	for own.Waits() {
		t := own.Take()
		if !d.hear(d.o.Replicas.ID, t) {
			own.Anew()
			continue
		}
		own.Taken(t.Seq)
	}
}

// hear lets the leader process a report of a replica.
func (d *Driver) hear(id string, t roster.Telling) bool {
	events, ok := d.role.all.Hear(time.Now(), id, t)
	for _, e := range events {
		_ = d.step(e) // only commands are refused
	}
	return ok
}

// Hear processes a report of another replica, if this one leads in the given term. Reports
// under its own ID, which it has sent just before it led or a copy of its data directory sends,
// are not those of its Envoys.
func (d *Driver) Hear(ctx context.Context, term uint64, id string, t roster.Telling) (a Answer, err error) {
	failed := d.call(ctx, func() {
		r := d.role
		if !d.leads() || r.term != term || id == d.o.Replicas.ID {
			err = ErrNotLeader
			return
		}
		before := r.all.Heard(id)
		if a.Known = d.hear(id, t); a.Known {
			r.heard[id] = time.Now()
		}
		a.Ahead = d.lead.isAhead()
		if before != r.all.Heard(id) {
			d.tellMissing()
		}
	})
	return a, cmp.Or(failed, err)
}

// listen lets a leader notice which replicas it no longer hears, and other replicas that
// they can follow.
func (d *Driver) listen(ctx context.Context) {
	for wait(ctx, tellEvery) {
		if d.call(ctx, func() { d.lose(); d.followAnyway(); d.compare(); d.stands() }) != nil {
			return
		}
	}
}

func (d *Driver) lose() {
	r := d.role
	if !d.leads() {
		return
	}
	var gone []rollout.Event
	for id, at := range r.heard {
		if time.Since(at) >= lostAfter {
			d.log.Warn("another server can't be reached any more: waves wait", "server", id)
			gone = append(gone, r.all.Lose(time.Now(), id)...)
			delete(r.heard, id)
		}
	}
	d.tellMissing()
	for _, e := range gone {
		_ = d.step(e) // only commands are refused
	}
}

// tellMissing passes to the machine which replicas are not heard.
func (d *Driver) tellMissing() {
	heard := func(id string) bool { return d.role.all != nil && d.role.all.Heard(id) }
	missing := map[string]bool{}
	for id, lives := range d.o.Replicas.Others() {
		if !heard(id) {
			missing[id] = lives
		}
	}
	if id := d.o.Replicas.ID; d.leads() && !heard(id) {
		missing[id] = true
	}
	_ = d.step(rollout.Missing{Servers: missing}) // only commands are refused
}

// campaign leads whenever it can, until ctx ends. A replica that knows no definitions yet
// leaves it to others: it could move nothing, and would keep them from writing a base.
func (d *Driver) campaign(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-d.role.defined:
	}
	for ctx.Err() == nil {
		term, err := d.o.Replicas.Lead(ctx)
		if err == nil {
			err = d.rule(ctx, term)
			term.End()
		}
		if err != nil && ctx.Err() == nil {
			d.log.Error("this server can't move changes", "error", err)
			wait(ctx, firstRetry)
		}
	}
}

// rule moves changes until the term ends.
func (d *Driver) rule(ctx context.Context, term state.Term) error {
	err := d.inTerm(ctx, term)
	values, failed := d.o.Replicas.known(ctx)
	if err == nil {
		err = failed
	}
	_ = d.call(ctx, func() { // else all ends
		d.follows(values)
		d.role.readable = time.Time{} // until it is read
		select {
		case d.role.reread <- struct{}{}:
		default:
		}
	})
	return err
}

func (d *Driver) inTerm(ctx context.Context, term state.Term) error {
	leading, over := context.WithCancel(ctx)
	var under sync.WaitGroup
	defer under.Wait()
	defer over()
	under.Go(func() {
		select {
		case <-term.Done():
			over()
		case <-leading.Done():
		}
	})
	if err := d.endCare(leading); err != nil {
		return nil // the term is over
	}
	store, err := d.o.Replicas.In(leading, term)
	if err != nil {
		return err
	}
	values, _, err := written(leading, store)
	if err != nil {
		return err
	}
	w := state.NewWriter(store, d.log)
	l := newLead(w.View(keys))
	l.over = over
	if d.call(leading, func() { d.take(term.Number(), l, values) }) != nil {
		return nil // the term is over
	}
	under.Go(func() { w.Run(leading) })
	d.serve(leading, l)
	return nil
}

// take makes this replica lead, from the saved state. No wave begins before all replicas
// have reported their Envoys.
func (d *Driver) take(term uint64, l *lead, values map[string][]byte) {
	r := d.role
	d.log.Info("this server leads now: it moves changes", "term", term)
	d.leave()
	d.lead, r.stand = l, Leads
	r.term, r.all, r.heard = term, roster.NewAll(), map[string]time.Time{}
	o := d.o.Options
	o.BakeAnew = d.o.Replicas.SameClock != nil && !d.o.Replicas.SameClock()
	d.begin(rollout.New(o, values))
	d.tellMissing()
	d.goOn()
	r.own.Anew()
	d.hearOwn()
	d.tellMissing()
	d.stands()
}

// goOn passes the expected Envoys and the desired state to a new machine that does not
// follow.
func (d *Driver) goOn() {
	r := d.role
	if time.Since(r.began) >= rollout.AwaitFor {
		r.expected = nil // for good
	}
	for _, e := range r.expected {
		_ = d.step(e) // only commands are refused
	}
	if r.wanted != nil {
		_ = d.step(*r.wanted) // only commands are refused
	}
}

// leave ends the current stand of this replica.
func (d *Driver) leave() {
	r := d.role
	if l := d.lead; l != nil {
		l.over()
		for _, w := range l.watched {
			if w.Phase = rollout.After; d.o.Watch != nil {
				d.o.Watch(w)
			}
		}
		if r.stand == Leads {
			d.log.Info("this server no longer leads")
		}
	}
	d.lead, r.all, r.heard, r.told, r.first = nil, nil, nil, 0, waits{}
}
