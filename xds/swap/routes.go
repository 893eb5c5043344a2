package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// inPlace reports whether the Envoy has a listener as wanted, with every filter in it
// except for those that may be missing.
func (v *state) inPlace(r *placement, now time.Time) bool {
	if !r.kept || v.underWay(r) {
		return false
	}
	return !slices.ContainsFunc(r.lacking, func(name string) bool { return !v.mayMiss(name, now) })
}

// underWay reports whether a listener is in flight, or waits for the content of its slots.
func (v *state) underWay(r *placement) bool {
	if f := v.subs[Listener].flight; f != nil && slices.ContainsFunc(f.Changed, func(it item) bool { return it.Name == r.listener.Name }) {
		return true
	}
	return slices.ContainsFunc(r.layout.Slots, func(slot string) bool {
		_, filled := v.subs[Extension].have.Find(slot)
		return !filled
	})
}

// newest reports whether the filters of a listener run in their current versions, except
// for those that Envoy rejects or xds-server does not have.
func (v *state) newest(r *placement, now time.Time) bool {
	rs := v.placements()
	for _, name := range r.listener.Filters {
		f := v.filter(name)
		if f == nil || v.givenUp(f, now) {
			continue
		}
		for _, slot := range rs.holders[name] {
			if of, _, _ := resource.SlotOf(slot); of != r.listener.Name {
				continue
			}
			if have, ok := v.subs[Extension].have.Find(slot); !ok || have.Version != f.VersionIn(slot) {
				return false
			}
		}
	}
	return true
}

// routesSettled reports whether the route configurations that a listener subscribes to are
// those of the snapshot.
func (v *state) routesSettled(r *placement) bool {
	s := &v.subs[Route]
	names := r.routes
	if len(names) > 0 && !s.subscribed {
		return false // its next request lists what it has
	}
	return s.flight == nil && !slices.ContainsFunc(names, func(name string) bool {
		want, ok := v.lookup(Route, name)
		return ok && v.wants(Route, name) && !s.have.Has(want)
	})
}

// routeDue reports whether a route configuration may be sent: when each listener that uses
// it has its filters, because a new route may depend on a new filter (invariant 11).
func (v *state) routeDue(name string, now time.Time) bool {
	_, had := v.subs[Route].have.Find(name)
	rs := v.placements()
	of, id, own := resource.RoutesOf(name)
	return !slices.ContainsFunc(v.snap.Listeners, func(l *resource.Listener) bool {
		r := rs.byListener[l.Name]
		switch {
		case !v.wants(Listener, l.Name) || !(own && of == l.Name) && !slices.Contains(r.routes, name):
			return false
		case r.kept && slices.Contains(r.routes, name):
			return v.slotsInDoubt(l.Name, r.layout.ID) || !v.inPlace(r, now) || had && (!v.newest(r, now) || v.lacksSome(r))
		}
		if !own { // routes that a raw listener shares with its successor
			have, had := v.subs[Listener].have.Find(l.Name)
			return had && v.wants(Route, name) && (v.slotsInDoubt(l.Name, resource.IDOf(have.Version)) || !v.hasFilters(r, have, now))
		}
		return v.slotsInDoubt(of, id) || !v.has(r, id, now) // it is draining, or about to be replaced
	})
}

// slotsInDoubt reports whether a response is in flight that puts another filter into a slot
// of a listener, or removes one. That response was right when it was sent, and may not fit
// the routes that are wanted now. See routesInDoubt for the opposite.
func (v *state) slotsInDoubt(listener, id string) bool {
	s := &v.subs[Extension]
	return s.flight != nil && slices.ContainsFunc(s.flight.Changed, func(it item) bool {
		of, its, own := resource.SlotOf(it.Name)
		if !own || of != listener || its != id {
			return false
		}
		have, filled := s.have.Find(it.Name)
		return filled && v.holds(have) != v.holds(it)
	})
}

// has reports whether the slots of a listener that is draining, or about to be replaced,
// hold all filters that are wanted in it.
func (v *state) has(r *placement, id string, now time.Time) bool {
	held := v.placements().held[layoutKey{r.listener.Name, id}]
	return !slices.ContainsFunc(r.listener.Filters, func(name string) bool { return !held[name] && (!v.mayMiss(name, now) || v.some(r.listener, name)) })
}

// allRoutesSettled reports whether the Envoy has all route configurations that it
// subscribes to as wanted, so that they name no cluster that is dropped. Those of a
// draining listener may be outdated, or gone.
func (v *state) allRoutesSettled() bool {
	s := &v.subs[Route]
	return s.flight == nil && !slices.ContainsFunc(s.names.All(), func(name string) bool {
		want, ok := v.lookup(Route, name)
		_, _, own := resource.RoutesOf(name)
		return ok && name != resource.GateRoute && !s.have.Has(want) || own && !ok
	})
}

// routeOpens reports whether a route configuration may be sent: none is sent before the
// clusters that it may name.
func (v *state) routeOpens(name string, now time.Time) bool {
	if name == resource.GateRoute {
		return v.gateOpens(now)
	}
	return v.clustersSettled(now) && v.routeDue(name, now)
}

// routeInUse reports whether a route configuration does not belong to a draining listener.
func (v *state) routeInUse(name string) bool {
	of, _, own := resource.RoutesOf(name)
	r := v.placements().byListener[of]
	return !own || r != nil && slices.Contains(r.routes, name)
}

// routesInUseSettled reports whether all routes are as wanted, except for those of draining
// listeners.
func (v *state) routesInUseSettled() bool {
	return !slices.ContainsFunc(v.subs[Route].names.All(), func(name string) bool {
		want, ok := v.lookup(Route, name)
		return ok && !v.subs[Route].have.Has(want) && v.routeInUse(name)
	})
}

// routesKnown reports whether an Envoy that subscribes to a listener's route configuration
// gets it: under the current name, and under a limited number of names of draining
// listeners.
func (v *state) routesKnown(listener, name string) bool {
	rs := v.placements()
	r := rs.byListener[listener]
	return r != nil && slices.Contains(r.routes, name) || rs.routes[name] || !v.subs[Route].names.Has(name)
}

// routesOf returns a listener's route configuration under a name of any layout.
func (v *state) routesOf(listener, name string) (item, bool) {
	if l := v.listener(listener); l != nil {
		if r := l.RouteConfig(name, v.placements().mentions[name]); r != nil {
			return intern.PlainItem(r), true
		}
	}
	return item{}, false
}
