package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
)

// DrainTime is Envoy's --drain-time-s where nobody has set it.
const DrainTime = 10 * time.Minute

// replacement is a listener that took the place of another.
type replacement struct {
	listener string
	at       time.Time
	named    bool     // the other had slots or routes of its own
	unlogged []string // access loggers that older ones have not, or in another version
}

// replace notes that listeners took the place of others: connections that are
// open go on with those. What has slots or routes of its own is drained when the
// Envoy asks for them no more; for the rest only time tells.
func (m *Machine) replace(changed []item, before *acked, now time.Time) {
	for _, l := range changed {
		old, had := before.Find(l.Name)
		if !had || l.Name == resource.PrimerListener {
			continue
		}
		r := replacement{l.Name, now, slices.ContainsFunc(old.Slots, isOwn) || m.ownRoutes(l.Name), m.unlogged(old, l, now)}
		m.replaced = slices.DeleteFunc(m.replaced, func(r replacement) bool { return r.listener == l.Name })
		m.replaced = append(m.replaced, r)
	}
	m.replaced = slices.DeleteFunc(m.replaced, func(r replacement) bool { return m.draining(r.listener, now) == nil })
}

// ownRoutes tells whether the Envoy asks for routes of a native listener.
func (v *state) ownRoutes(listener string) bool {
	return slices.ContainsFunc(v.subs[Route].names.All(), func(name string) bool {
		of, _, own := resource.RoutesOf(name)
		return own && of == listener
	})
}

// draining tells whether connections may be open that go on with a listener as
// it was.
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

// goWithout tells whether connections may be open that go without a filter that
// runs for all others.
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
