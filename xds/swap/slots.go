package swap

import (
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// ownItem returns what a listener's own slot gets next.
func (v *state) ownItem(slot string, now time.Time) (item, bool) {
	_, filled := v.subs[Extension].have.Find(slot)
	if it, ok := v.promised(slot); ok && !filled {
		return it, true
	}
	rs := v.placements()
	c, ok := rs.contents[slot]
	switch {
	case !ok:
		return item{}, false
	case c.leaving:
		return v.empty(slot), v.mayLeave(slot, now)
	case c.as, v.routesInDoubt(slot, c, now):
		return item{}, false
	case c.filter == nil:
		return v.empty(slot), true
	}
	return v.slotContent(c.filter, slot, now)
}

// mayLeave reports whether a filter that is no longer wanted may leave a slot: when the
// listener has everything wanted in it, and its routes are those that do without the
// filter. A listener that is draining, or waits to be replaced, may have other routes.
func (v *state) mayLeave(slot string, now time.Time) bool {
	name, id, _ := resource.SlotOf(slot)
	r := v.placements().byListener[name]
	if r == nil || !v.inPlace(r, now) || !v.routesSettled(r) {
		return false
	}
	if id == r.layout.ID {
		return true
	}
	want, native := v.routesOf(name, resource.RoutesPrefix+name+"/"+id)
	return native && v.subs[Route].have.Has(want)
}

// isOwn reports whether a slot is a listener's own, not one that people named.
func isOwn(slot string) bool {
	_, _, own := resource.SlotOf(slot)
	return own
}

// promised returns what was intended for a slot when its listener was sent: the filter, in
// the version that its twin has now (invariants 1 and 2), or a content that is not a
// filter.
func (v *state) promised(slot string) (item, bool) {
	i := slices.IndexFunc(v.promises, func(p promise) bool { return p.slot == slot })
	if i < 0 {
		return item{}, false
	}
	p := &v.promises[i]
	if p.written != nil {
		it := intern.PlainItem(p.written)
		it.Written = true
		return it, true
	}
	if twin, ok := v.subs[Extension].have.Find(p.twin); ok && twin.Filter != nil {
		return filterItem(twin.Filter, slot, v.slotAttempt(twin.Filter, slot)), true
	}
	switch {
	case p.noop != nil:
		return v.inOtherBytes(p.noop), true
	case p.closed:
		return item{}, false
	}
	return v.empty(slot), true
}

// promise is what a slot of a listener that was sent gets when Envoy subscribes to it.
type promise struct {
	slot, filter string             // filter: "" for none
	twin         string             // twin of the filter, as it was then
	noop         *resource.Resource // if the filter is not available, in a slot that people named
	written      *resource.Resource // resource that is sent as written
	closed       bool               // the filter fails closed: an own slot must not get the empty content
}

// fresh returns what is intended for the own slots of a listener that is about to be sent:
// filters, or nothing.
func (v *state) fresh(r *placement) []promise {
	if r.layout == nil {
		return nil // from an earlier process
	}
	var all []promise
	for slot, filter := range r.listener.Spread(r.layout) {
		f := v.filter(filter)
		all = append(all, promise{slot: slot, filter: filter, twin: v.twinOf(filter), closed: f != nil && f.OnFailure != definition.Open})
	}
	return all
}

// heldBy returns the filter of the snapshot that is the content of an own slot of which
// only the version is known, or nil.
func (v *state) heldBy(it item) *resource.Filter {
	if !isOwn(it.Name) {
		return nil
	}
	_, id := resource.CutVersion(it.Version)
	if f := v.snap.FilterByID(id); f != nil && f.Missing == "" && f.VersionIn(it.Name) == it.Version {
		return f
	}
	return nil
}

// putOffRespare postpones the replacement of listeners whose spares are used up, because
// something changes. It happens once nothing has changed for a while, and not in the whole
// fleet at once.
func (m *Machine) putOffRespare(now time.Time) {
	if m.respare > 0 {
		m.respareAt = now.Add(m.timing(now).jitter(m.respare))
	}
}

// empty returns the content of a listener's own slot without a filter.
func (v *state) empty(slot string) item { return v.inOtherBytes(v.interner.Empty(slot).Res) }

// inOtherBytes returns the content of a slot that does nothing: if the newest one was
// rejected, together with others, in bytes that differ (invariant 5).
func (v *state) inOtherBytes(r *resource.Resource) item {
	if !slices.Contains(v.poisoned, r.Name) {
		return intern.PlainItem(r)
	}
	return v.interner.NothingAgain(r, v.unseenAttempt())
}
