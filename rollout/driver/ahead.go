package driver

import (
	"context"
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
)

// What no policy is for goes everywhere at once, and others read of it when it is written
// down. A server that starts meanwhile would serve new Envoys without a filter that
// Envoys elsewhere have. So with other servers who leads gives its Envoys nothing that
// they can't read of, unless the state takes long to write; and a server that starts
// gives its Envoys nothing before who leads has said that all is written.
const (
	// aheadAfter is how long what no policy is for waits until it is written down.
	aheadAfter = time.Second
	// firstWait is how long a server that starts waits for the word of who leads, and
	// behindFor how long it, or one that follows, waits for what is not written down.
	firstWait = 3 * time.Second
	behindFor = 3 * time.Second
)

// waits is a plan that Envoys are to get later.
type waits struct {
	plan  *rollout.Plan // nil: none
	seq   uint64        // when that batch is written down
	since time.Time
}

func (w *waits) hold(p *rollout.Plan) {
	if w.plan == nil {
		w.since = time.Now()
	}
	w.plan = p
}

// give has Envoys get what a step says, now or in a moment.
func (d *Driver) give(step rollout.Ready) {
	r, l := d.role, d.lead
	switch {
	case r == nil:
		d.o.Publish(step.Plan)
		return
	case r.stand == Follows && !r.given:
		if r.first.hold(step.Plan); r.sure {
			d.giveFirst()
		}
		return
	case r.stand == Leads && step.Save != nil && d.others():
		l.hurry(step.Save.Seq) // those who follow are to have it soon
		if step.Ahead && l.why() == "" {
			l.waits.seq = step.Save.Seq
			l.waits.hold(step.Plan)
			return
		}
	}
	if l != nil && l.waits.plan != nil {
		l.waits.hold(step.Plan)
		return
	}
	if l != nil && step.Ahead {
		l.ahead = step.Save.Seq
	}
	d.publish(step.Plan)
}

func (d *Driver) publish(p *rollout.Plan) {
	d.role.given, d.role.first = true, waits{}
	d.o.Publish(p)
}

// others says whether there are other servers that live.
func (d *Driver) others() bool {
	return slices.Contains(slices.Collect(maps.Values(d.o.Replicas.Others())), true)
}

// giveWritten has Envoys get what waited until a batch was written down.
func (d *Driver) giveWritten(seq uint64) {
	l := d.lead
	if l.ahead <= seq {
		l.ahead = 0
	}
	if l.waits.plan != nil && l.waits.seq <= seq {
		p := l.waits.plan
		l.waits = waits{}
		d.publish(p)
	}
}

// giveFirst has Envoys get what this server found when it started.
func (d *Driver) giveFirst() {
	if p := d.role.first.plan; p != nil {
		d.publish(p)
	}
}

// due is when the wait for something is over; zero: nothing waits.
func (d *Driver) due() time.Time {
	switch r := d.role; {
	case r == nil:
	case d.lead != nil && d.lead.waits.plan != nil:
		return d.lead.waits.since.Add(aheadAfter)
	case r.first.plan != nil && r.behind.IsZero():
		return r.first.since.Add(firstWait)
	}
	return time.Time{}
}

// giveDue has Envoys get what has waited long enough.
func (d *Driver) giveDue() {
	at := d.due()
	if at.IsZero() || time.Now().Before(at) {
		return
	}
	l := d.lead
	if l == nil {
		d.giveFirst()
		return
	}
	p := l.waits.plan
	l.ahead, l.waits = l.waits.seq, waits{}
	d.publish(p)
}

// sooner is the sooner of two times that are not zero.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// isAhead says whether Envoys have what is not written down, and has it written.
func (l *lead) isAhead() bool {
	if l.ahead == 0 {
		return false
	}
	l.hurry(l.ahead)
	return true
}

// answered takes what who leads has answered: while its Envoys have what this server
// can't read of, this one is soon on its own, as if it could read nothing.
func (d *Driver) answered(ctx context.Context, ahead bool) {
	r := d.role
	if !ahead {
		r.behind = time.Time{}
		if !r.sure && r.answered.IsZero() {
			r.answered = time.Now()
			select {
			case r.reread <- struct{}{}: // what was read may be older than the answer
			default:
			}
		}
		return
	}
	if r.answered = (time.Time{}); r.behind.IsZero() {
		r.behind = time.Now()
	}
	if r.stand == Follows && time.Since(r.behind) >= behindFor && r.values != nil {
		r.sure = false
		d.log.Error("what Envoys of the server that leads have is not written down: this one goes on by what it reads itself, and no wave begins")
		d.care(ctx, r.values)
	}
}

// answeredBefore has this server follow what it has read, where that was begun after who
// leads had said that all is written.
func (d *Driver) answeredBefore(began time.Time) {
	if at := d.role.answered; !at.IsZero() && !began.Before(at) {
		d.surely()
	}
}
