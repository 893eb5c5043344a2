package kube

import (
	"context"
	"time"
)

// confirm checks for each deleted object whether its kind is gone as well,
// until ctx ends.
func (t *table) confirm(ctx context.Context, ask func(context.Context, kind) (lasts bool, err error)) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.doubts:
		case <-timer.C:
		}
		now := time.Now()
		for _, k := range t.doubted(now) {
			lasts, err := ask(ctx, k)
			if err != nil {
				t.log.Debug("find out whether a kind is served", "kind", k.name, "error", err)
			}
			t.decide(k, now, lasts, err)
		}
		timer.Reset(t.nextDoubt(time.Now()))
	}
}

// between is the minimum interval between two checks while objects are in
// doubt: a CRD may be deleted and created again in a moment.
const between = 50 * time.Millisecond

// doubted returns the kinds of objects that are in doubt, now or soon.
func (t *table) doubted(now time.Time) []kind {
	t.mu.Lock()
	defer t.mu.Unlock()
	var kinds []kind
	seen := map[kind]bool{}
	for _, p := range t.parts {
		for _, o := range p.objects {
			if o.due(now.Add(t.doubt)) && !seen[p.kind] {
				seen[p.kind] = true
				kinds = append(kinds, p.kind)
			}
		}
	}
	return kinds
}

// due reports whether it is time to check.
func (o *object) due(now time.Time) bool { return !o.doubted.IsZero() && !o.doubted.After(now) }

// decide removes objects that were gone when the check began, or keeps them if
// their kind is being deleted.
func (t *table) decide(k kind, asked time.Time, lasts bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts {
		if p.kind != k {
			continue
		}
		if err == nil && !lasts && !t.removeAll {
			p.going()
			continue
		}
		for name, o := range p.objects {
			switch {
			case !o.due(asked):
			case err != nil:
				o.doubted = asked.Add(time.Second)
			default:
				delete(p.objects, name)
				t.dead = append(t.dead, name)
				t.touch()
			}
		}
	}
}

// going restores deleted objects, because their kind is gone.
func (p *part) going() {
	p.certain()
	p.synced, p.absent = false, true
	if p.again != nil {
		p.again() // otherwise, the watch may outlive the CRD, and continue with the next one of its name
	}
	if p.state != absent {
		p.state, p.since = absent, time.Now()
	}
	signal(p.table.wake)
}

// certain ends all doubts about objects of the part.
func (p *part) certain() {
	for _, o := range p.objects {
		o.doubted = time.Time{}
	}
}

// nextDoubt returns how long there is nothing to check.
func (t *table) nextDoubt(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := idle
	for _, p := range t.parts {
		for _, o := range p.objects {
			if !o.doubted.IsZero() {
				left := o.doubted.Sub(now)
				wait = min(wait, max(between, left-t.doubt))
			}
		}
	}
	return wait
}
