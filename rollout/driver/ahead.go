package driver

import (
	"context"
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
)

// A change without a policy goes to all Envoys at once, and the other replicas read of it
// when it is saved. A replica that starts in between would serve new Envoys without a
// filter that Envoys of other replicas have. Therefore, with other replicas, the leader
// gives its Envoys nothing that these can't read, unless saving takes long; and a replica
// that starts gives its Envoys nothing before the leader has reported that everything is
// saved.
const (
	// aheadAfter is how long a change without a policy waits to be saved.
	aheadAfter = time.Second
	// firstWait is how long a replica that starts waits for the answer of a leader that
	// can't be reached. It waits for one that accepts connections until that has answered:
	// with a slow store, the leader learns late who connects. The wait ends with the
	// answer, with a state that can't be read, or with followAnyway.
	// behindFor is how long it, or a follower, waits for what is not saved.
	firstWait = 3 * time.Second
	behindFor = 3 * time.Second
)

// waits is a plan that Envoys get later.
type waits struct {
	plan  *rollout.Plan // nil: none
	seq   uint64        // publish when this batch is saved
	since time.Time
}

func (w *waits) hold(p *rollout.Plan) {
	if w.plan == nil {
		w.since = time.Now()
	}
	w.plan = p
}

// give publishes the plan of a step, now or later.
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
		l.hurry(step.Save.Seq) // so that followers can read it soon
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

// publish publishes a plan of a replica among others. Plans before it may have waited, or were
// never read.
func (d *Driver) publish(p *rollout.Plan) {
	r := d.role
	if r.given && (r.last == nil || !p.Follows(r.last)) {
		again := *p
		again.Again = true
		p = &again
	}
	r.given, r.first, r.last = true, waits{}, p
	d.o.Publish(p)
}

// others reports whether other replicas live.
func (d *Driver) others() bool {
	return slices.Contains(slices.Collect(maps.Values(d.o.Replicas.Others())), true)
}

// giveWritten publishes the plan that waited until a batch was saved.
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

// giveFirst publishes the plan that this replica found when it started.
func (d *Driver) giveFirst() {
	if p := d.role.first.plan; p != nil {
		d.publish(p)
	}
}

// due returns when the waiting plan is published at the latest; zero: none waits.
func (d *Driver) due() time.Time {
	switch r := d.role; {
	case r == nil:
	case d.lead != nil && d.lead.waits.plan != nil:
		return d.lead.waits.since.Add(aheadAfter)
	case r.first.plan != nil && r.behind.IsZero() && r.away:
		return r.first.since.Add(firstWait)
	}
	return time.Time{}
}

// giveDue publishes a plan that has waited long enough.
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

// sooner returns the earlier of two times, ignoring zero times.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// isAhead reports whether Envoys have what is not saved yet, and if so requests that it is
// saved.
func (l *lead) isAhead() bool {
	if l.ahead == 0 {
		return false
	}
	l.hurry(l.ahead)
	return true
}

// answered processes the leader's answer. While the leader's Envoys have what this replica
// can't read, this one is soon on its own, as if it could read nothing.
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

// answeredBefore lets this replica follow what it has read, if the read began after the
// leader had reported that everything is saved.
func (d *Driver) answeredBefore(began time.Time) {
	if at := d.role.answered; !at.IsZero() && !began.Before(at) {
		d.surely()
	}
}
