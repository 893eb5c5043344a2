package swap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// run is a chain of a serving listener, with its content before and after a response. Parts
// of a response may take effect in any order.
type run struct {
	listener      *resource.Listener
	wanted        resource.Chain
	before, after []place
}

// wants reports whether the chain should contain a filter.
func (r run) wants(filter string) bool {
	return slices.ContainsFunc(r.wanted, func(w resource.Wanted) bool { return w.Filter == filter })
}

// chainsOf returns the chains that a response changes.
func chainsOf(v *state, a action) []run {
	if a.Type != Extension {
		return nil
	}
	var runs []run
	for _, l := range v.snap.Listeners {
		have, _ := v.subs[Listener].have.Find(l.Name)
		l = v.placements().byListener[l.Name].listener // with its access loggers
		layout := l.In(have.Version)
		if layout == nil {
			continue
		}
		for i, slots := range layout.Chains {
			r := run{listener: l, wanted: l.Chains[i]}
			changes, serves := false, true
			for _, s := range slots {
				p := place{gap: s.Gap}
				if it, ok := v.subs[Extension].have.Find(s.Name); ok {
					p.holds = v.holds(it)
				} else {
					serves = false
				}
				r.before = append(r.before, p)
				if i := slices.IndexFunc(a.Changed, func(it item) bool { return it.Name == s.Name }); i >= 0 {
					changes, p.holds = true, v.holds(a.Changed[i])
				}
				r.after = append(r.after, p)
			}
			if changes && serves {
				runs = append(runs, r)
			}
		}
	}
	return runs
}

// wantedFiltersStay is invariant 9: a filter that serves and is still wanted is in the
// chain at all times, and one that is no longer wanted leaves only when all required
// filters are there. Kept by move, settle and mayLeave.
func wantedFiltersStay(v *state, a action, _ time.Time) error {
	for _, r := range chainsOf(v, a) {
		stays := func(filter string) bool {
			for p := range r.before {
				if r.before[p].holds == filter && r.after[p].holds == filter {
					return true
				}
			}
			return false
		}
		for p := range r.before {
			was := r.before[p].holds
			switch {
			case was == "" || r.after[p].holds == was:
			case r.wants(was):
				if !stays(was) {
					return fmt.Errorf("filter %s leaves listener %s for a moment", was, r.listener.Name)
				}
			default:
				for _, w := range r.wanted {
					if f := v.filter(w.Filter); f != nil && f.OnFailure != definition.Open && !stays(w.Filter) {
						return fmt.Errorf("filter %s leaves listener %s before %s is there", was, r.listener.Name, w.Filter)
					}
				}
			}
		}
	}
	return nil
}

// ordersArePublished is invariant 10: the serving filters are in an order that was
// published. Additional copies of serving filters may be added anywhere. All other changes
// lead to the wanted order, whatever part of them has taken effect. Kept by move and
// settle.
func ordersArePublished(v *state, a action, _ time.Time) error {
	for _, r := range chainsOf(v, a) {
		copies := true
		for p, was := range r.before {
			is := r.after[p].holds
			copies = copies && (is == was.holds || was.holds == "" && slices.ContainsFunc(r.before, func(o place) bool { return o.holds == is }))
		}
		if copies {
			continue
		}
		if !inOrder(r.after, r.wanted) {
			return fmt.Errorf("the filters of listener %s get into another order than the one that is wanted", r.listener.Name)
		}
		for p := range r.before {
			if r.before[p].holds == r.after[p].holds {
				continue
			}
			one := slices.Clone(r.before)
			one[p] = r.after[p]
			if !inOrder(one, r.wanted) {
				return fmt.Errorf("the filters of listener %s may be seen in another order than the one that is wanted", r.listener.Name)
			}
		}
	}
	return nil
}

// routesFindTheirFilters is invariant 11: no route configuration of a listener is sent
// before the filters that are wanted with it are there, and none of its filters leaves
// before the routes that need it. Kept by routeDue, slotsInDoubt and mayLeave.
func routesFindTheirFilters(v *state, a action, _ time.Time) error {
	switch a.Type {
	case Route:
		for _, it := range a.Changed {
			of, id, own := resource.RoutesOf(it.Name)
			had, _ := v.subs[Route].have.Find(it.Name)
			if before, _ := resource.CutMentions(had.Version); strings.HasPrefix(it.Version, before) && before != "" {
				continue // the current routes, with mentions of other slots
			}
			for _, l := range v.snap.Listeners {
				if !own || l.Name != of || !v.subs[Listener].subscribed {
					continue
				}
				for _, name := range l.Filters {
					if f := v.filter(name); f != nil && f.OnFailure != definition.Open && (!v.heldIn(l.Name, id, name, "") || v.takenOut(l.Name, id, name)) {
						return fmt.Errorf("the routes of listener %s are sent before its filter %s is there", l.Name, name)
					}
				}
			}
		}
	case Extension:
		for _, it := range a.Changed {
			of, id, own := resource.SlotOf(it.Name)
			had, filled := v.subs[Extension].have.Find(it.Name)
			if !own || !filled || v.holds(had) == "" || v.heldIn(of, id, v.holds(had), it.Name) {
				continue
			}
			name := resource.RoutesPrefix + of + "/" + id
			want, native := v.routesOf(of, name)
			if native && v.holds(it) == "" && v.subs[Route].names.Has(name) && !v.subs[Route].have.Has(want) {
				return fmt.Errorf("filter %s leaves listener %s, whose routes are older than that", v.holds(had), of)
			}
		}
	}
	return nil
}

// heldIn reports whether a filter is in a slot of a listener with an ID, other than one
// slot.
func (v *state) heldIn(listener, id, filter, but string) bool {
	return slices.ContainsFunc(v.subs[Extension].have.Items, func(it item) bool {
		of, its, own := resource.SlotOf(it.Name)
		return own && of == listener && its == id && it.Name != but && v.holds(it) == filter
	})
}

// takenOut reports whether a response is in flight after which a filter is in no slot of a
// listener with an ID.
func (v *state) takenOut(listener, id, filter string) bool {
	flight := v.subs[Extension].flight
	return flight != nil && !slices.ContainsFunc(v.subs[Extension].have.Items, func(it item) bool {
		if to, ok := changedBy(flight, it.Name); ok {
			it = to
		}
		of, its, own := resource.SlotOf(it.Name)
		return own && of == listener && its == id && v.holds(it) == filter
	})
}

// changedBy returns the item with a name in a response.
func changedBy(r *Response, name string) (item, bool) {
	i := slices.IndexFunc(r.Changed, func(it item) bool { return it.Name == name })
	if i < 0 {
		return item{}, false
	}
	return r.Changed[i], true
}
