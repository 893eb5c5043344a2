package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// nextListeners moves the Envoy's listeners toward the snapshot's: the primer first if it
// gets a new twin, every other listener when its filters can be put in place.
func (v *state) nextListeners(now time.Time) *Response {
	s := &v.subs[Listener]
	if !v.clustersSettled(now) || v.doubtInFlight() || v.poisonedTwins(now) {
		return nil
	}
	if r, _ := v.restorable(); r != nil {
		return nil
	}
	changed, gone, ok := v.listenerChanges(now)
	if !ok {
		return nil
	}
	r := v.respond(Listener, changed, gone)
	if r != nil && s.nonce > 0 && len(v.taken) == 0 && intern.SameItems(r.To.Items, s.have.Items) {
		return nil
	}
	return r
}

// reported reports whether the Envoy has the wanted version of a listener, and has ACKed it.
func (v *state) reported(have, want item) bool {
	return have.Is(want) && !slices.Contains(v.taken, want.Name)
}

// poisonedTwins reports whether the primer is about to change while the newest content of a
// twin is a rejected one, which must be replaced first.
func (v *state) poisonedTwins(now time.Time) bool {
	return len(v.poisoned) > 0 && v.primerDue(now) && slices.ContainsFunc(v.poisoned, v.inPrimer)
}

// inPrimer reports whether the snapshot's primer has this twin.
func (v *state) inPrimer(name string) bool {
	if !isTwin(name) {
		return false
	}
	f := v.filterAt(name)
	return f != nil && f.Missing == ""
}

// primerDue reports whether the primer is sent with the next listeners.
func (v *state) primerDue(now time.Time) bool {
	if v.snap.Primer == nil || !v.subs[Listener].subscribed {
		return false
	}
	want := intern.ListenerItem(v.snap.Primer)
	have, ok := v.subs[Listener].have.Find(want.Name)
	return !(ok && v.reported(have, want)) && v.wants(Listener, want.Name) && !v.held(Listener, want, now)
}

// listenerChanges compares what the Envoy has with what it may have now. ok is false if
// that is impossible without dropping a listener.
func (v *state) listenerChanges(now time.Time) (changed []item, gone []string, ok bool) {
	s := &v.subs[Listener]
	if s.unknown && s.nonce == 0 && !v.subs[Extension].subscribed {
		// The listeners of a reconnecting Envoy are unknown: its next request lists what
		// its slots have.
		return nil, nil, v.snap.Primer == nil
	}
	early := v.bare() && v.inProgress(now)
	unsettled := false
	for _, l := range v.snap.Listeners {
		it := v.wanted(l)
		have, had := s.have.Find(it.Name)
		if !v.wants(Listener, it.Name) || had && v.reported(have, it) {
			continue
		}
		switch {
		case !early && v.placeable(it, now) && !v.held(Listener, it, now):
			changed = append(changed, it)
		case had && have.Res == nil && !v.delta:
			// It must be in the response, but its bytes are unknown.
			return nil, nil, false
		}
		unsettled = true
	}
	changed = v.inTurn(changed, now)
	for _, name := range v.obsolete(Listener) {
		if name != resource.PrimerListener {
			gone = append(gone, name)
		}
	}
	if v.warming(now) || v.slotsUnknown() {
		return changed, gone, true // invariant 6: a new primer could remove the twin that a slot is filled from
	}
	if v.primerDue(now) && (v.newTwins() && !v.losesTwinOf(changed) || !unsettled && len(gone) == 0 && !v.goesBack()) {
		changed = append(changed, intern.ListenerItem(v.snap.Primer))
		slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	}
	if _, had := s.have.Find(resource.PrimerListener); had && v.snap.Primer == nil && !unsettled && len(gone) == 0 {
		gone = append(gone, resource.PrimerListener)
	}
	return changed, gone, true
}

// listenersSettled reports whether the Envoy's listeners are the snapshot's.
func (v *state) listenersSettled(now time.Time) bool {
	s := &v.subs[Listener]
	if !s.subscribed {
		return true
	}
	if s.flight != nil || v.warming(now) {
		return false
	}
	if v.complete(Listener) {
		return true
	}
	for _, l := range v.snap.Listeners {
		if have, ok := s.have.Find(l.Name); v.wants(Listener, l.Name) && !(ok && have.Is(v.wanted(l))) {
			return false
		}
	}
	return len(v.obsolete(Listener)) == 0
}

// newTwins reports whether the snapshot's primer has a twin that Envoy's does not have.
func (v *state) newTwins() bool {
	have, _ := v.subs[Listener].have.Find(resource.PrimerListener)
	return slices.ContainsFunc(v.snap.Primer.Slots, func(twin string) bool { return !slices.Contains(have.Slots, twin) })
}

// losesTwinOf reports whether the snapshot's primer lacks a twin that a slot of these
// listeners is to be filled from (invariant 6): they were placeable for long and rejected,
// and the module of one of their filters is missing by now.
func (v *state) losesTwinOf(listeners []item) bool {
	have, _ := v.subs[Listener].have.Find(resource.PrimerListener)
	loses := func(filter string) bool {
		twin := v.twinOf(filter)
		return slices.Contains(have.Slots, twin) && !slices.Contains(v.snap.Primer.Slots, twin)
	}
	return slices.ContainsFunc(listeners, func(it item) bool {
		l := v.listener(it.Name)
		return slices.ContainsFunc(l.Filters, loses) || slices.ContainsFunc(l.Slots, func(slot string) bool { return loses(filterOf(slot)) })
	})
}

// bare reports whether the Envoy has no listener that takes requests.
func (v *state) bare() bool {
	s := &v.subs[Listener]
	return !s.unknown && !slices.ContainsFunc(s.have.Items, func(it item) bool { return it.Name != resource.PrimerListener })
}

// inProgress reports whether waiting may get some filter primed.
func (v *state) inProgress(now time.Time) bool {
	return slices.ContainsFunc(v.unprimed(), func(f *resource.Filter) bool { return !v.givenUp(f, now) })
}

// primed reports whether this Envoy has the filter, in its current version, ready for use.
func (v *state) primed(f *resource.Filter) bool {
	have, ok := v.subs[Extension].have.Find(v.point(f))
	return ok && have.Version == f.Version && !slices.Contains(v.poisoned, have.Name)
}

// point returns the resource at which the filter is primed: its twin or, on an Envoy whose
// listeners are not from this server, the slot itself.
func (v *state) point(f *resource.Filter) string {
	if !v.subs[Listener].subscribed && !v.wants(Extension, f.TwinName) {
		return f.Name
	}
	return f.TwinName
}

// givenUp reports whether a failing filter has been waited for long enough for the rest to
// continue without it.
func (v *state) givenUp(f *resource.Filter, now time.Time) bool {
	p := v.priming(f.Name)
	return p != nil && p.fails() && p.overdue(now)
}

// placeable reports whether l may be sent (invariant 2): whether every slot of it either
// has a content, which it keeps, or gets one as soon as Envoy subscribes to it.
func (v *state) placeable(l item, now time.Time) bool {
	r := v.placements().byListener[l.Name]
	if r != nil && (v.dropsTooSoon(r, now) || len(r.unlogged) > 0 || slices.ContainsFunc(r.lacking, func(filter string) bool { return !v.atHand(filter, now) })) {
		return false
	}
	return !slices.ContainsFunc(l.Slots, func(name string) bool {
		return !isOwn(name) && (!v.slotReady(name, now) || !v.slotStays(name))
	})
}

// atHand reports whether a filter can be put into its slot as soon as Envoy subscribes, or
// may be left out.
func (v *state) atHand(filter string, now time.Time) bool {
	return v.canServe(filter) || v.mayMiss(filter, now)
}

// mayMiss reports whether a listener may do without a filter: one that fails open, and was
// waited for long enough.
func (v *state) mayMiss(filter string, now time.Time) bool {
	f := v.filter(filter)
	return f != nil && f.OnFailure == definition.Open && v.givenUp(f, now)
}

// slotReady reports whether a slot has a content, or gets one if Envoy subscribes now.
func (v *state) slotReady(name string, now time.Time) bool {
	if _, ok := v.subs[Extension].have.Find(name); ok && v.wants(Extension, name) {
		return true
	}
	_, ok := v.slotItem(name, now)
	return ok
}

// slotStays reports whether what makes a slot ready will still be there when a listener
// that is sent now arrives.
func (v *state) slotStays(name string) bool {
	f := v.filterAt(name)
	if f == nil {
		return true
	}
	have := v.subs[Extension].have
	if _, ok := have.Find(name); ok && v.inUse(name) {
		return true
	}
	if twin, ok := have.Find(f.TwinName); ok && twin.Filter != nil && v.inUse(f.TwinName) {
		return true // not just its version is known
	}
	return f.OnFailure == definition.Open // a content that does nothing is always available
}

// inUse reports whether a listener of the Envoy has the slot, or the primer has the twin.
// Envoy is about to drop a slot that none of them has, with its content, although it has
// not unsubscribed yet.
func (v *state) inUse(slot string) bool {
	of, id, own := resource.SlotOf(slot)
	return slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool {
		if own && l.Res == nil {
			return l.Name == of && resource.IDOf(l.Version) == id
		}
		return slices.Contains(l.Slots, slot) || slices.Contains(l.Static, slot)
	})
}

// slotsIn returns the slots of a listener of the Envoy. If only its version is known, these
// are its own slots that the Envoy subscribes to.
func (v *state) slotsIn(l item) []string {
	if l.Res != nil {
		return l.Slots
	}
	var slots []string
	id := resource.IDOf(l.Version)
	for _, name := range v.subs[Extension].names.All() {
		if of, its, own := resource.SlotOf(name); own && of == l.Name && its == id {
			slots = append(slots, name)
		}
	}
	return slots
}

// wait is what a warming listener waits for.
type wait uint8

const (
	forNothing wait = iota
	forStatic       // only resources that Envoy may reject
	forFilter       // the primed content of a slot
)

// warming reports whether a listener waits for a slot's content that is available. It gets
// that before anything else that may be NACKed is sent (invariant 3), because one NACK ends
// all waits.
func (v *state) warming(now time.Time) bool { return v.waits(now) != forNothing }

// waits returns what listeners wait for.
func (v *state) waits(now time.Time) wait {
	if !now.Before(v.warmEnd) || v.filled() {
		return forNothing
	}
	listeners, slots, waits := v.subs[Listener].have, v.subs[Extension].have, forNothing
	for _, l := range listeners.Items {
		for _, slot := range v.slotsIn(l) {
			if isTwin(slot) {
				break // all slots of the primer are twins
			}
			if _, ok := slots.Find(slot); ok {
				continue
			}
			if _, ok := v.slotItem(slot, now); ok {
				return forFilter
			}
		}
		for _, slot := range l.Static {
			if _, ok := slots.Find(slot); ok {
				continue
			}
			if v.toCome(slot, now) {
				waits = forStatic
			}
		}
	}
	return waits
}

// filled reports whether every slot of the Envoy's listeners has a content.
func (v *state) filled() bool {
	return v.standing().filled.get(func() bool {
		empty := func(slot string) bool {
			_, filled := v.subs[Extension].have.Find(slot)
			return !filled && !isTwin(slot)
		}
		return !slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool {
			return slices.ContainsFunc(v.slotsIn(l), empty) || slices.ContainsFunc(l.Static, empty)
		})
	})
}

// slotsUnknown reports whether the Envoy has listeners with slots and has not yet
// subscribed to their contents: its next request lists what they have.
func (v *state) slotsUnknown() bool {
	return !v.subs[Extension].subscribed && slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool { return len(l.Slots) > 0 })
}

// gateOpens reports whether a fresh Envoy has everything that it should have, or everything
// available.
func (v *state) gateOpens(now time.Time) bool {
	s := &v.subs[Listener]
	if s.flight != nil || v.subs[Extension].flight != nil || v.slotsUnknown() || !v.clustersSettled(now) || v.warming(now) {
		return false
	}
	delivered := 0
	for _, l := range v.snap.Listeners {
		it := v.wanted(l)
		if have, ok := s.have.Find(it.Name); ok && have.Is(it) {
			delivered++
			continue
		}
		if v.held(Listener, it, now) {
			continue // Envoy rejected it; the others need not wait
		}
		if !v.waitsInVain(l, now) {
			return false // it will be sent
		}
	}
	if len(v.snap.Listeners) == 0 {
		return !v.inProgress(now)
	}
	return delivered > 0
}

// waitsInVain reports whether a listener waits for a filter that was waited for long
// enough.
func (v *state) waitsInVain(l *resource.Listener, now time.Time) bool {
	if !slices.ContainsFunc(v.primings, func(p Priming) bool { return p.fails() }) {
		return false
	}
	return slices.ContainsFunc(l.Filters, func(name string) bool {
		f := v.filter(name)
		return f != nil && v.givenUp(f, now) && !v.canServe(name)
	}) || slices.ContainsFunc(v.placements().byListener[l.Name].unlogged, func(name string) bool {
		f := v.filter(name)
		return f != nil && v.givenUp(f, now)
	}) || slices.ContainsFunc(l.Slots, func(name string) bool {
		f := v.filter(name)
		return f != nil && v.givenUp(f, now) && !v.slotReady(name, now)
	})
}
