package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// Filters that are for some routes are in slots like all others. The route configuration
// says which slots run for which route, by their names (resource.Mentions), and is updated
// separately from the content of the slots. No request may meet a filter that is off for
// its route, or bypass one that is on (invariant 13). Therefore
//
//   - a slot that routes mention for a filter gets no other, and that filter is in no other
//     slots: it does not move;
//   - before a filter that is for some routes enters, the routes that the Envoy has get an
//     additional slot that is shut for all of them. Only then come the routes that use it;
//   - a filter that leaves stays mentioned, and shut, until it is gone.
//
// If this is impossible, the listener is replaced by one with other slots and routes.

// guard records what the Envoy's routes mention about the slots of a chain.
func (v *state) guard(chain []place, in *resource.Layout, i int) {
	if in.Routes == "" || v.known && !v.subs[Route].subscribed {
		return // a raw listener, or the next request lists what the Envoy has; see routesInDoubt
	}
	// If it has none that are known, it may have some that it should have dropped.
	routes, _ := v.subs[Route].have.Find(in.Routes)
	_, mentions := resource.CutMentions(routes.Version)
	for p := range chain {
		if resource.IsNetworkSlot(in.Chains[i][p].Name) {
			continue
		}
		chain[p].guarded = true
		id := mentions.At(resource.SlotNumber(in.Chains[i][p].Name))
		if id == "" {
			continue
		}
		chain[p].only = outsider
		if f := v.snap.FilterByID(id); f != nil {
			chain[p].only = f.Name
		}
	}
}

// canShut reports whether the bytes of the Envoy's routes are known, so that more slots can
// be shut in them.
func (v *state) canShut(r *placement) bool {
	have, ok := v.subs[Route].have.Find(r.layout.Routes)
	return ok && have.Res != nil
}

// shutting returns the route configuration that an Envoy has with additional slots shut,
// for filters that are about to enter them.
func (v *state) shutting(name string) (item, bool) {
	of, _, own := resource.RoutesOf(name)
	r := v.placements().byListener[of]
	have, ok := v.subs[Route].have.Find(name)
	if !own || !ok || have.Res == nil || r == nil || !r.kept || len(r.shut) == 0 || r.layout.Routes != name || v.slotsInDoubt(of, r.layout.ID) {
		return item{}, false
	}
	made := r.listener.Shut(have.Res, r.shut)
	if made == nil {
		return item{}, false
	}
	return intern.PlainItem(made), true
}

// findMentions returns what route configurations should mention, by the content of the
// slots beside them: filters that not all routes have, and those that are about to leave,
// which are shut if they were mentioned before, or if there were no routes before. If the
// routes are the wanted ones, they also mention what enters next.
func (v *state) findMentions(rs *placements) map[string]resource.Mentions {
	var all map[string]resource.Mentions
	add := func(routes string, m resource.Mention) {
		if all == nil {
			all = map[string]resource.Mentions{}
		}
		all[routes] = all[routes].With(m)
	}
	for _, it := range v.subs[Extension].have.Items {
		of, id, own := resource.SlotOf(it.Name)
		if !own || it.Version == resource.EmptyVersion || resource.IsNetworkSlot(it.Name) {
			continue
		}
		l := v.listener(of)
		if l == nil || l.RoutesName == "" {
			continue
		}
		name := resource.RoutesPrefix + of + "/" + id
		slot := resource.SlotNumber(it.Name)
		if filter := v.mentionIn(l, name, slot, it); filter != "" {
			add(name, resource.Mention{Slot: slot, Filter: filter})
		}
	}
	for _, r := range rs.byListener {
		if len(r.shut) == 0 {
			continue
		}
		have, _ := v.subs[Route].have.Find(r.layout.Routes)
		if base, _ := resource.CutMentions(have.Version); base == r.listener.RoutesBase {
			for _, m := range r.shut {
				add(r.layout.Routes, m)
			}
		}
	}
	return all
}

// mentionIn returns the filter that routes should mention a slot for; "": none.
func (v *state) mentionIn(l *resource.Listener, routes string, slot int, it item) string {
	holds := idIn(it)
	if f := v.filter(v.holds(it)); f != nil && slices.Contains(l.Filters, f.Name) {
		if _, treated := l.Treats(f.ID); treated {
			return holds
		}
		return ""
	}
	have, had := v.subs[Route].have.Find(routes)
	if !had {
		return holds
	}
	_, before := resource.CutMentions(have.Version)
	return before.At(slot)
}

// idIn returns the ID of the filter in a listener's own slot; "": none.
func idIn(it item) string {
	if it.Version == resource.EmptyVersion {
		return ""
	}
	if it.Filter != nil {
		return it.Filter.ID
	}
	_, id := resource.CutVersion(it.Version)
	return id
}

// some reports whether a filter is for some routes of a listener.
func (v *state) some(l *resource.Listener, filter string) bool {
	f := v.filter(filter)
	if f == nil {
		return false
	}
	some, _ := l.Treats(f.ID)
	return some
}

// lacksSome reports whether a listener lacks a filter that is for some routes. New routes
// wait for such a filter even if it may be missing, because the old ones have something in
// its place.
func (v *state) lacksSome(r *placement) bool {
	return slices.ContainsFunc(r.lacking, func(name string) bool { return v.some(r.listener, name) })
}

// routesInDoubt reports whether a slot should get another filter while it is unknown which
// routes requests use: routes that mention slots are in flight, or the Envoy has not yet
// listed its routes.
func (v *state) routesInDoubt(slot string, c content, now time.Time) bool {
	have, filled := v.subs[Extension].have.Find(slot)
	holds := ""
	if c.filter != nil {
		holds = c.filter.Name
	}
	if !filled || v.holds(have) == holds {
		return false
	}
	of, id, _ := resource.SlotOf(slot)
	name := resource.RoutesPrefix + of + "/" + id
	s := &v.subs[Route]
	if !s.subscribed {
		l := v.listener(of)
		return l != nil && l.RoutesName != "" && v.namingUnknown(now)
	}
	if s.flight == nil {
		return false
	}
	return slices.ContainsFunc(s.flight.Changed, func(it item) bool {
		before, _ := s.have.Find(name)
		return it.Name == name && strings.Contains(it.Version+before.Version, "+")
	})
}

// routesAs returns routes of the snapshot as an Envoy has them, whatever they mention.
func (v *state) routesAs(it item) *resource.Resource {
	of, _, own := resource.RoutesOf(it.Name)
	l := v.listener(of)
	if base, m := resource.CutMentions(it.Version); own && l != nil && l.RoutesBase == base {
		if r := l.RouteConfig(it.Name, m); r != nil && r.Version == it.Version {
			return r
		}
	}
	return nil
}
