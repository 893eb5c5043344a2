package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// rawRoutesFindTheirFilters says invariant 11 for route configurations that raw listeners refer
// to: the listener that an Envoy has contains every filter that is wanted with new routes, and
// a listener with fewer filters is not sent before the routes that do without. Kept by
// routeDue and dropsTooSoon.
func rawRoutesFindTheirFilters(v *state, a action, _ time.Time) error {
	for _, l := range v.snap.Listeners {
		had, ok := v.subs[Listener].have.Find(l.Name)
		if !ok || l.RoutesName != "" || !v.wants(Listener, l.Name) {
			continue
		}
		lacking := v.lackingIn(had, l)
		switch a.Type {
		case Route:
			for _, it := range a.Changed {
				if lacking != "" && slices.Contains(l.Routes, it.Name) {
					return fmt.Errorf("the routes %s are sent before filter %s of listener %s is there", it.Name, lacking, l.Name)
				}
			}
		case Listener:
			it, changed := changedBy(a.Response, l.Name)
			older := slices.ContainsFunc(l.Routes, func(name string) bool {
				want, ok := v.lookup(Route, name)
				have, had := v.subs[Route].have.Find(name)
				return ok && had && v.subs[Route].names.Has(name) && have.Version != want.Version
			})
			if !changed || !older || lacking != "" {
				continue
			}
			for _, slot := range had.Slots {
				if !isOwn(slot) && !slices.Contains(it.Slots, slot) {
					return fmt.Errorf("listener %s is sent without filter %s, and its routes are older than that", l.Name, slot)
				}
			}
		}
	}
	return nil
}

// lackingIn returns a filter that fails closed and is wanted in a listener, and that the one
// that an Envoy has lacks; "": there is none.
func (v *state) lackingIn(had item, l *resource.Listener) string {
	closed := func(filter string) bool {
		f := v.filter(filter)
		return f != nil && f.OnFailure != definition.Open
	}
	for _, filter := range l.Filters {
		if closed(filter) && !v.heldIn(l.Name, resource.IDOf(had.Version), filter, "") {
			return filter
		}
	}
	for _, slot := range l.Slots {
		_, filled := v.subs[Extension].have.Find(slot)
		if !isOwn(slot) && closed(filterOf(slot)) && !(filled && (had.Res == nil || slices.Contains(had.Slots, slot))) {
			return filterOf(slot)
		}
	}
	return ""
}
