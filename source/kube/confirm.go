package kube

import (
	"context"
	"time"
)

// confirm finds out of objects that are gone whether their kind is, too, until ctx
// ends.
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

// between is how long after another the same is asked while objects are in doubt: a
// CRD may be gone, and there again, in a moment.
const between = 50 * time.Millisecond

// doubted are the kinds that objects are in doubt of, now or in a moment.
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

// due says whether it is time to ask.
func (o *object) due(now time.Time) bool { return !o.doubted.IsZero() && !o.doubted.After(now) }

// decide lets objects go that were gone when it was asked, or has them stay where
// their kind is going.
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

// going takes back that objects are gone: their kind is.
func (p *part) going() {
	p.certain()
	p.synced, p.absent = false, true
	if p.again != nil {
		p.again() // or the watch may outlive the CRD, and go on in the next of its name
	}
	if p.state != absent {
		p.state, p.since = absent, time.Now()
	}
	signal(p.table.wake)
}

// certain takes back that objects are in doubt.
func (p *part) certain() {
	for _, o := range p.objects {
		o.doubted = time.Time{}
	}
}

// nextDoubt is how long there is nothing to ask.
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
