package driver

import (
	"context"
	"errors"
	"maps"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/roster"
	"wasmxds/state"
)

// follows makes this replica follow, from values. It is not sure yet: possibly no other
// replica leads.
func (d *Driver) follows(values map[string][]byte) {
	r := d.role
	d.leave()
	r.stand, r.sure, r.answered, r.reached = Follows, false, time.Time{}, time.Now()
	if values == nil {
		values = r.values // the last known ones
	}
	d.begin(rollout.Follow(d.o.Options, values))
	if r.wanted != nil {
		_ = d.step(*r.wanted) // only commands are refused
	}
	d.tellMachine()
	d.stands()
}

// tellMachine passes this replica's Envoys to a new machine, and schedules them for the
// next leader.
func (d *Driver) tellMachine() {
	d.role.own.Anew()
	for _, e := range d.role.own.Envoys() {
		_ = d.step(e) // only commands are refused
	}
}

// tellLeader reports this replica's Envoys to the leader.
func (d *Driver) tellLeader(ctx context.Context) {
	for {
		pause := tellEvery
		if time.Since(d.role.began) < firstWait { // its Envoys wait for the answer
			pause = tellSoon
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-d.role.news:
			if !wait(ctx, tellSoon) {
				return
			}
		}
		for rest := true; rest && ctx.Err() == nil; {
			rest = d.tellOnce(ctx)
		}
	}
}

// tellOnce sends the next report to the leader. It returns whether there is more to report.
func (d *Driver) tellOnce(ctx context.Context) (rest bool) {
	l := d.o.Replicas.Leader()
	term := l.Term()
	r := d.role
	if term == 0 {
		r.unreached.Store(&errNobody)
		if l.Known() {
			_ = d.call(ctx, func() { r.away = true }) // else ctx has ended
		}
		return false
	}
	var t roster.Telling
	leads := false
	if d.call(ctx, func() {
		if leads = d.leads(); leads {
			return
		}
		if r.told != term {
			r.told, r.away = term, false // whether this one can be reached is not known yet
			r.own.Anew()
		}
		t = r.own.Take()
	}) != nil || leads {
		return false
	}
	short, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	answer, err := l.Hear(short, t)
	if err != nil {
		r.unreached.Store(&err)
		_ = d.call(ctx, func() { r.away = errors.Is(err, ErrAway) }) // else ctx has ended
		return false                                                 // it is sent again
	}
	r.unreached.Store(nil)
	_ = d.call(ctx, func() { // else ctx has ended
		if d.leads() || r.told != term {
			return
		}
		r.reached, r.away = time.Now(), false
		if !answer.Known {
			r.own.Anew()
			rest = true
		} else {
			r.own.Taken(t.Seq)
			rest = t.Rest
		}
		d.answered(ctx, answer.Ahead)
	})
	return rest
}

// followAnyway lets a replica that can read the state, and neither leads nor reaches the
// leader, follow after a while.
func (d *Driver) followAnyway() {
	if r := d.role; !r.readable.IsZero() && time.Since(r.readable) >= sureAfter && time.Since(r.reached) >= sureAfter {
		r.behind = time.Time{}
		d.surely()
	}
}

// surely makes this replica follow the saved state, because another replica leads.
func (d *Driver) surely() {
	r := d.role
	switch {
	case r.sure || r.readable.IsZero() || r.stand == Leads:
		return
	case r.stand == Cares:
		d.log.Info("another server moves changes, and what it writes can be read")
		d.lead.given = true
		d.follows(r.values)
	default:
		_ = d.step(rollout.Rewritten{Values: r.values}) // only commands are refused
		d.keepModules()
	}
	r.sure = true
	d.giveFirst()
}

// follow reads the saved state, and each change to it, until ctx ends.
func (d *Driver) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.followOnce(ctx)
		if ctx.Err() != nil || errors.Is(err, state.ErrCompacted) || errors.Is(err, errReread) {
			continue
		}
		if d.call(ctx, func() { d.unreadable(ctx, err) }) == nil {
			wait(ctx, firstRetry)
		}
	}
}

// errReread means that the state must be read again.
var errReread = errors.New("to be read anew")

func (d *Driver) followOnce(ctx context.Context) error {
	began := time.Now()
	short, cancel := context.WithTimeout(ctx, readTime)
	values, at, err := written(short, d.o.Replicas.Shared)
	cancel()
	if err != nil {
		return err
	}
	read := func() error {
		seen := maps.Clone(values)
		return d.call(ctx, func() { d.read(seen); d.answeredBefore(began) })
	}
	if err := read(); err != nil {
		return err
	}
	watching, end := context.WithCancelCause(ctx)
	defer end(nil)
	probed := make(chan struct{})
	defer func() { end(nil); <-probed }()
	go func() { defer close(probed); d.probe(watching, at, end) }()
	for e, err := range d.o.Replicas.Shared.Watch(watching, keys, at) {
		if err != nil {
			return err
		}
		if e.Gone {
			delete(values, e.Key[len(keys):])
		} else {
			values[e.Key[len(keys):]] = e.Value
		}
		if e.More {
			continue
		}
		if err := read(); err != nil {
			return err
		}
	}
	return context.Cause(watching)
}

// read processes the saved state.
func (d *Driver) read(values map[string][]byte) {
	r := d.role
	r.values = values
	if r.readable.IsZero() {
		r.readable = time.Now()
	}
	if r.stand == Follows && r.sure {
		_ = d.step(rollout.Rewritten{Values: values}) // only commands are refused
		d.keepModules()
	}
}

// probe checks that the state can be read and is still the same, until ctx ends or the
// check fails. A store that is unavailable does not end a watch.
func (d *Driver) probe(ctx context.Context, at state.Revision, end context.CancelCauseFunc) {
	failed := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.role.reread:
			end(errReread)
			return
		case <-time.After(probeEvery):
		}
		short, cancel := context.WithTimeout(ctx, readTime)
		_, now, err := d.o.Replicas.Shared.List(short, keys+"none")
		cancel()
		switch {
		case err != nil:
			if failed++; failed > 1 {
				end(err)
				return
			}
		case now < at: // its data was lost
			end(errReread)
			return
		default:
			failed, at = 0, now
		}
	}
}
