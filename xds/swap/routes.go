package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// inPlace tells whether the Envoy has a listener as it is wanted, with every
// filter in it but such as may be missing.
func (v *state) inPlace(r *placement, now time.Time) bool {
	if !r.kept || v.underWay(r) {
		return false
	}
	return !slices.ContainsFunc(r.lacking, func(name string) bool { return !v.mayMiss(name, now) })
}

// underWay tells whether a listener was sent, or waits for the content of its
// slots.
func (v *state) underWay(r *placement) bool {
	if f := v.subs[Listener].flight; f != nil && slices.ContainsFunc(f.Changed, func(it item) bool { return it.Name == r.listener.Name }) {
		return true
	}
	return slices.ContainsFunc(r.layout.Slots, func(slot string) bool {
		_, filled := v.subs[Extension].have.Find(slot)
		return !filled
	})
}

// newest tells whether the filters of a listener run in the versions that are
// wanted, but for such as Envoy refuses or xds-server does not have.
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

// routesSettled tells whether the route configurations that a listener asks for
// are those of the snapshot.
func (v *state) routesSettled(r *placement) bool {
	s := &v.subs[Route]
	names := r.routes
	if len(names) > 0 && !s.subscribed {
		return false // what it has comes with its next request
	}
	return s.flight == nil && !slices.ContainsFunc(names, func(name string) bool {
		want, ok := v.lookup(Route, name)
		return ok && v.wants(Route, name) && !s.have.Has(want)
	})
}

// routeDue tells whether a route configuration may be sent: when each listener
// that asks for it has its filters, as a new route may be what a new one is for
// (invariant 11).
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
		return own && (v.slotsInDoubt(of, id) || !v.has(r, id, now)) // it is drained, or about to be replaced
	})
}

// slotsInDoubt tells whether a response is under way that puts another filter into a
// slot of a listener, or takes one out: as things stood when it was sent, that is not
// what is wanted with the routes by now. See routesInDoubt for the opposite.
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

// has tells whether slots of a listener that is drained, or about to be replaced,
// hold all filters that are wanted in it.
func (v *state) has(r *placement, id string, now time.Time) bool {
	held := v.placements().held[layoutKey{r.listener.Name, id}]
	return !slices.ContainsFunc(r.listener.Filters, func(name string) bool { return !held[name] && (!v.mayMiss(name, now) || v.some(r.listener, name)) })
}

// allRoutesSettled tells whether the Envoy has the route configurations that it
// asks for as they are wanted, so that they name no cluster that goes. Those of a
// listener that is drained may be as they were, or be gone.
func (v *state) allRoutesSettled() bool {
	s := &v.subs[Route]
	return s.flight == nil && !slices.ContainsFunc(s.names.All(), func(name string) bool {
		want, ok := v.lookup(Route, name)
		_, _, own := resource.RoutesOf(name)
		return ok && name != resource.GateRoute && !s.have.Has(want) || own && !ok
	})
}

// routeOpens tells whether a route configuration may be sent: none before the
// clusters that it may name.
func (v *state) routeOpens(name string, now time.Time) bool {
	if name == resource.GateRoute {
		return v.gateOpens(now)
	}
	return v.clustersSettled(now) && v.routeDue(name, now)
}

// routeInUse tells whether a route configuration is none of a listener that is
// drained.
func (v *state) routeInUse(name string) bool {
	of, _, own := resource.RoutesOf(name)
	r := v.placements().byListener[of]
	return !own || r != nil && slices.Contains(r.routes, name)
}

// routesInUseSettled tells whether all routes are as they are wanted but those of
// listeners that are drained.
func (v *state) routesInUseSettled() bool {
	return !slices.ContainsFunc(v.subs[Route].names.All(), func(name string) bool {
		want, ok := v.lookup(Route, name)
		return ok && !v.subs[Route].have.Has(want) && v.routeInUse(name)
	})
}

// routesKnown tells whether an Envoy that asks for a listener's route configuration
// gets it: under the name that it is to have, and as many more as may be of
// listeners that are drained.
func (v *state) routesKnown(listener, name string) bool {
	rs := v.placements()
	r := rs.byListener[listener]
	return r != nil && slices.Contains(r.routes, name) || rs.routes[name] || !v.subs[Route].names.Has(name)
}

// routesOf is a listener's route configuration under a name of any layout.
func (v *state) routesOf(listener, name string) (item, bool) {
	if l := v.listener(listener); l != nil {
		if r := l.RouteConfig(name, v.placements().mentions[name]); r != nil {
			return intern.PlainItem(r), true
		}
	}
	return item{}, false
}
