package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
)

// DrainTime is the default of Envoy's --drain-time-s.
const DrainTime = 10 * time.Minute

// replacement describes a listener that replaced another.
type replacement struct {
	listener string
	at       time.Time
	named    bool     // the old one had slots or routes of its own
	unlogged []string // access loggers that older ones lack, or have in another version
}

// replace records that listeners were replaced: open connections continue with the old
// ones. A listener with slots or routes of its own is drained when the Envoy unsubscribes
// from these; for others, only time tells.
func (m *Machine) replace(changed []item, before *acked, now time.Time) {
	for _, l := range changed {
		old, had := before.Find(l.Name)
		if !had || old.Is(l) || l.Name == resource.PrimerListener {
			continue
		}
		r := replacement{l.Name, now, slices.ContainsFunc(old.Slots, isOwn) || m.ownRoutes(l.Name), m.unlogged(old, l, now)}
		m.replaced = slices.DeleteFunc(m.replaced, func(r replacement) bool { return r.listener == l.Name })
		m.replaced = append(m.replaced, r)
	}
	m.replaced = slices.DeleteFunc(m.replaced, func(r replacement) bool { return m.draining(r.listener, now) == nil })
}

// ownRoutes reports whether the Envoy subscribes to routes of a native listener.
func (v *state) ownRoutes(listener string) bool {
	return slices.ContainsFunc(v.subs[Route].names.All(), func(name string) bool {
		of, _, own := resource.RoutesOf(name)
		return own && of == listener
	})
}

// draining returns since and until when connections may continue with an earlier version of
// a listener, or nil.
func (v *state) draining(listener string, now time.Time) *Draining {
	var d Draining
	i := slices.IndexFunc(v.replaced, func(r replacement) bool { return r.listener == listener })
	if i >= 0 {
		d.Since = v.replaced[i].at
		d.Until = d.Since.Add(v.drainTime)
	}
	switch {
	case len(v.placements().drained[listener]) > 0:
		return &d
	case i >= 0 && !v.replaced[i].named && now.Before(d.Until):
		return &d
	}
	return nil
}

// goWithout returns since and until when connections may continue without a filter that
// runs for all others, or nil.
func (v *state) goWithout(filter string, now time.Time) *Draining {
	for _, l := range v.snap.Listeners {
		logs := slices.Contains(l.Loggers, filter)
		if !logs && !slices.Contains(l.Filters, filter) {
			continue
		}
		d := v.draining(l.Name, now)
		if logs {
			if d != nil && v.olderLacks(l.Name, filter) {
				return d
			}
			continue
		}
		if d == nil || slices.ContainsFunc(v.placements().drained[l.Name], func(slot string) bool {
			have, ok := v.subs[Extension].have.Find(slot)
			return ok && v.holds(have) == filter
		}) {
			continue
		}
		return d
	}
	return nil
}
