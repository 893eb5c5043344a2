package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// nextExtensions fills the slots with primed filters, all in one response. Resources that
// Envoy may reject follow when nothing is waiting whose wait a NACK would end (invariant
// 3): first other extensions, which a listener itself may be waiting for, and then filters
// to prime.
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

// askLimit is the most time that an Envoy that has accepted a listener is given to
// subscribe to its slots. It subscribes to one after the other, and gets all at once.
const askLimit = 50 * time.Millisecond

// asking reports whether the Envoy has not yet subscribed to all slots of a listener that
// it has just accepted.
func (v *state) asking(now time.Time) bool {
	return now.Before(v.askEnd()) && v.standing().unasked.get(func() bool {
		names := v.subs[Extension].names
		return slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool {
			return l.Name != resource.PrimerListener && slices.ContainsFunc(l.Slots, func(slot string) bool { return !names.Has(slot) })
		})
	})
}

// startsAsking reports whether another name from a fresh Envoy cannot lead to a response.
// Such an Envoy subscribes to its twins, and later to as many slots, one at a time. While
// a twin is in flight, the answer to it comes first; slots are filled together. Nothing
// else that could be sent depends on the names meanwhile.
func (v *state) startsAsking(now time.Time) bool {
	if v.known || !v.subs[Listener].subscribed {
		return false
	}
	if v.subs[Extension].flight != nil {
		return v.bare()
	}
	return v.asking(now)
}

func (v *state) askEnd() time.Time { return v.warmEnd.Add(askLimit - warmLimit) }

// slots returns the contents that serving slots get now. If these depend on nothing of the
// Envoy's own, they are computed once for all.
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

// findSlots leaves out slots that have their content (invariant 7). A slot that was NACKed
// goes alone.
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

// leftItem returns the content for a slot of a filter that is gone, which an existing
// listener waits for: the one that was intended when that listener was sent (invariants 1
// and 2).
func (v *state) leftItem(name string) (item, bool) {
	if _, filled := v.subs[Extension].have.Find(name); filled {
		return item{}, false
	}
	if twin, ok := v.subs[Extension].have.Find(resource.TwinPrefix + name); ok && twin.Filter != nil {
		return filterItem(twin.Filter, name, v.slotAttempt(twin.Filter, name)), true
	}
	return v.promised(name)
}

// slotContent decides what a slot for f gets: what f's twin, or that of its standby, has
// ACKed (invariant 1), after a NACK in other bytes (invariant 5), or a content that does
// nothing if f fails open and can't be primed. It returns false if there is nothing new.
func (v *state) slotContent(f *resource.Filter, slot string, now time.Time) (item, bool) {
	s := &v.subs[Extension]
	p := v.priming(f.Name)
	_, filled := s.have.Find(slot)
	twin, ok := s.have.Find(f.TwinName)
	attempt := v.slotAttempt(f, slot)
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

// slotAttempt returns the attempt in which a slot gets f: after a NACK another one
// (invariant 5).
func (v *state) slotAttempt(f *resource.Filter, slot string) int {
	if !slices.Contains(v.poisoned, slot) {
		return 0
	}
	if p := v.priming(f.Name); p != nil && p.slotOnly {
		return p.attempt
	}
	return v.unseenAttempt() // what was rejected may have been any version, and this one before
}

// nothingFor returns the content of a slot in place of a filter that fails open.
func (v *state) nothingFor(f *resource.Filter, slot string) item {
	if slot == f.Name {
		return v.inOtherBytes(f.Noop())
	}
	return v.empty(slot)
}

// cached reports whether this Envoy has the filter's module, because another version or
// filter uses it. A Lua script needs no module.
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

// healed returns replacements for rejected contents of twins that Envoy accepts at once:
// the earlier content in other bytes (invariant 5), or one that does nothing.
func (v *state) healed() []item {
	var changed []item
	for _, name := range v.poisoned {
		if !v.inPrimer(name) {
			continue
		}
		if have, ok := v.subs[Extension].have.Find(name); ok && have.Filter != nil {
			have.Res = have.Filter.Twin(v.unseenAttempt())
			changed = append(changed, have)
		} else {
			changed = append(changed, intern.PlainItem(v.filterAt(name).TwinNoop()))
		}
	}
	slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	return changed
}

// unseenAttempt returns an attempt that no earlier response had: none had one as high as
// the number of this response.
func (v *state) unseenAttempt() int { return v.salt + int(v.nonce) + 1 }
