package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
)

// A raw listener refers to a route configuration by a name that people gave, and so does the
// listener that replaces it. New routes may depend on a filter that only the new listener
// has, and old ones on a filter that only the old listener has (invariant 11). Therefore
//
//   - routes are not sent before the listener that has all filters is there;
//   - a listener that lacks a filter of the one before is not sent before the routes.
//
// If one change adds a filter and removes another, the listener comes first. Connections
// that are still open with the old listener then use the new routes with the old filters.

// hasFilters reports whether a listener of the Envoy that is about to be replaced has all filters
// that are wanted in it, in its own slots and in those that people named.
func (v *state) hasFilters(r *placement, had item, now time.Time) bool {
	if !v.has(r, resource.IDOf(had.Version), now) {
		return false
	}
	return !slices.ContainsFunc(r.listener.Slots, func(slot string) bool {
		f := v.filterAt(slot)
		return !isOwn(slot) && f != nil && !v.mayMiss(f.Name, now) && !v.serves(had, slot, f)
	})
}

// serves reports whether a listener of the Envoy has a filter in a slot that people named.
func (v *state) serves(l item, slot string, f *resource.Filter) bool {
	have, filled := v.subs[Extension].have.Find(slot)
	if noop := f.Noop(); !filled || noop != nil && noop.Version == have.Version {
		return false
	}
	return l.Res == nil || slices.Contains(l.Slots, slot)
}

// dropsTooSoon reports whether a listener must wait for its routes because it lacks a filter
// that the one before has.
func (v *state) dropsTooSoon(r *placement, now time.Time) bool {
	had, replaced := v.subs[Listener].have.Find(r.listener.Name)
	if r.kept || !replaced || !v.drops(r.listener, had) {
		return false
	}
	return v.hasFilters(r, had, now) && slices.ContainsFunc(r.listener.Routes, v.routesAreOlder)
}

// drops reports whether a listener of the Envoy has a filter that its successor does not have.
func (v *state) drops(l *resource.Listener, had item) bool {
	for filter := range v.placements().held[layoutKey{l.Name, resource.IDOf(had.Version)}] {
		if filter != "" && !slices.Contains(l.Filters, filter) {
			return true
		}
	}
	return slices.ContainsFunc(had.Slots, func(slot string) bool { return !isOwn(slot) && !slices.Contains(l.Slots, slot) })
}

// routesAreOlder reports whether the Envoy has a route configuration in another version than
// the one that is wanted.
func (v *state) routesAreOlder(name string) bool {
	have, had := v.subs[Route].have.Find(name)
	want, ok := v.lookup(Route, name)
	return had && ok && v.wants(Route, name) && !have.Is(want)
}
