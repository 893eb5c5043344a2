package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// nextExtensions fills the slots with what is primed, all in one response.
// What Envoy may refuse comes when nothing waits that a NACK would end the wait
// of (invariant 3): other extensions, which may be what a listener waits for
// itself, and then filters to prime.
func (v *state) nextExtensions(now time.Time) action {
	s := &v.subs[Extension]
	if s.names == nil || !v.clustersSettled(now) {
		return action{}
	}
	extensions := func(changed []item, p purpose) action {
		if len(changed) == 0 {
			return action{}
		}
		return action{v.interner.Step(s.have, Extension, v.delta, changed, nil), p}
	}
	if v.asking(now) {
		return action{}
	}
	if changed := v.slots(now); len(changed) > 0 {
		return extensions(changed, fill)
	}
	if changed := v.released(); len(changed) > 0 {
		return extensions(changed, update)
	}
	waits := v.waits(now)
	if v.subs[Listener].flight != nil || waits == forFilter {
		return action{}
	}
	if waits == forNothing {
		if changed := v.replacing(now); len(changed) > 0 {
			return extensions(changed, replace)
		}
	}
	if r, it := v.restorable(); r != nil {
		return extensions([]item{it}, restore)
	}
	if it, ok := v.nextWritten(now, waits); ok {
		return extensions([]item{it}, update)
	}
	if waits != forNothing {
		return action{}
	}
	if v.poisonedTwins(now) {
		return extensions(v.healed(), heal)
	}
	return extensions(v.nextTwins(now), prime)
}

// askLimit is how long, at most, an Envoy that has taken a listener is given to ask
// for its slots: it asks for one after the other, and gets all at once.
const askLimit = 50 * time.Millisecond

// asking tells whether the Envoy has not asked yet for all slots of a listener that
// it has just taken.
func (v *state) asking(now time.Time) bool {
	return now.Before(v.askEnd()) && v.standing().unasked.get(func() bool {
		names := v.subs[Extension].names
		return slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool {
			return l.Name != resource.PrimerListener && slices.ContainsFunc(l.Slots, func(slot string) bool { return !names.Has(slot) })
		})
	})
}

func (v *state) askEnd() time.Time { return v.warmEnd.Add(askLimit - warmLimit) }

// slots are the contents that serving slots are to get now. Where nothing of the
// Envoy's own has a part in that they are found out once for all.
func (v *state) slots(now time.Time) []item {
	find := func() []item { return v.findSlots(now) }
	counts := func(p Priming) bool {
		return p.nacks > 0 || p.fails() || !p.Due.IsZero() || p.alone || resource.IsStandby(p.Filter) && p.overdue(now)
	}
	if len(v.poisoned)+len(v.refusals)+len(v.promises) > 0 || v.subs[Listener].flight != nil || v.subs[Route].flight != nil || slices.ContainsFunc(v.primings, counts) {
		return find()
	}
	return v.standing().fill.get(find)
}

// findSlots leaves out what slots have (invariant 7). One that was NACKed goes alone.
func (v *state) findSlots(now time.Time) []item {
	behind := v.behind()
	changed := make([]item, 0, len(behind))
	for _, name := range behind {
		it, ok := v.slotItem(name, now)
		if !ok || it.Written || v.held(Extension, it, now) {
			continue
		}
		have, ok := v.subs[Extension].have.Find(name)
		if ok && (have.Is(it) && !slices.Contains(v.poisoned, name) || !have.Is(it) && v.isToStandBy(have, now)) {
			continue
		}
		if slices.Contains(v.poisoned, name) {
			return []item{it}
		}
		changed = append(changed, it)
	}
	return changed
}

func (v *state) slotItem(name string, now time.Time) (item, bool) {
	if isOwn(name) {
		return v.ownItem(name, now)
	}
	f := v.filterAt(name)
	if f == nil {
		if it, ok := v.lookup(Extension, name); ok {
			return it, true
		}
		return v.leftItem(name)
	}
	if v.point(f) == name {
		return item{}, false // primed in place
	}
	return v.slotContent(f, name, now)
}

// leftItem is for the slot of what is gone, which a listener that is still there
// waits for: what was meant for it when that listener was sent
// (invariants 1 and 2).
func (v *state) leftItem(name string) (item, bool) {
	if _, filled := v.subs[Extension].have.Find(name); filled {
		return item{}, false
	}
	if twin, ok := v.subs[Extension].have.Find(resource.TwinPrefix + name); ok && twin.Filter != nil {
		return filterItem(twin.Filter, name, 0), true
	}
	return v.promised(name)
}

// slotContent decides what a slot that is to hold f gets: what f's twin, or that of
// its standby, has ACKed (invariant 1), after a NACK in other bytes (invariant 5),
// and what does nothing where an open filter can't be primed. False: nothing new.
func (v *state) slotContent(f *resource.Filter, slot string, now time.Time) (item, bool) {
	s := &v.subs[Extension]
	p := v.priming(f.Name)
	_, filled := s.have.Find(slot)
	twin, ok := s.have.Find(f.TwinName)
	attempt := 0
	if slices.Contains(v.poisoned, slot) && p != nil {
		attempt = p.attempt
	}
	if !(ok && twin.Version == f.Version) && v.standsBy(f) {
		return filterItem(f, slot, attempt), true
	}
	if ok && twin.Filter != nil && (twin.Version == f.Version || !filled || p != nil && p.nacks > 0) {
		return filterItem(twin.Filter, slot, attempt), true
	}
	if !filled && f.OnFailure == definition.Open && (v.givenUp(f, now) || v.wants(Extension, slot) || v.inUse(slot)) {
		return v.nothingFor(f, slot), true
	}
	return item{}, false
}

// nothingFor is what a slot holds in place of an open filter.
func (v *state) nothingFor(f *resource.Filter, slot string) item {
	if slot == f.Name {
		return intern.PlainItem(f.Noop())
	}
	return v.interner.Empty(slot)
}

// cached tells whether this Envoy has the filter's module: another version or
// another filter runs on it. A script brings all with it.
func (v *state) cached(f *resource.Filter) bool {
	return f.Lua || f.SHA256 != "" && v.standing().cached.get(func() map[string]bool {
		modules := map[string]bool{}
		for _, it := range v.subs[Extension].have.Items {
			if it.Filter != nil {
				modules[it.Filter.SHA256] = true
			}
		}
		return modules
	})[f.SHA256]
}

// healed replaces refused contents of twins by ones that Envoy takes at once:
// what the twin had before, in other bytes (invariant 5), or what does nothing. No
// response before has an attempt as high as the number of this one.
func (v *state) healed() []item {
	var changed []item
	for _, name := range v.poisoned {
		if !v.inPrimer(name) {
			continue
		}
		if have, ok := v.subs[Extension].have.Find(name); ok && have.Filter != nil {
			have.Res = have.Filter.Twin(v.salt + int(v.nonce) + 1)
			changed = append(changed, have)
		} else {
			changed = append(changed, intern.PlainItem(v.filterAt(name).TwinNoop()))
		}
	}
	slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	return changed
}
