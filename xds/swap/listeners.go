package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// nextListeners moves the Envoy's listeners toward the snapshot's: the primer
// first where it gets a new twin, each other listener when its filters can be
// put in place.
func (m *Machine) nextListeners(now time.Time) *Response {
	s := &m.subs[Listener]
	if !m.clustersSettled(now) || m.doubtInFlight() || m.soiled(now) {
		return nil
	}
	if tr, _ := m.restorable(); tr != nil {
		return nil
	}
	changed, gone, ok := m.listenerChanges(now)
	if !ok {
		return nil
	}
	r := m.respond(Listener, changed, gone)
	if r != nil && s.nonce > 0 && sameItems(r.to.items, s.have.items) {
		return nil
	}
	return r
}

// soiled tells whether the primer is about to change while some twin's newest
// content is one that was refused: it has to be replaced first.
func (m *Machine) soiled(now time.Time) bool {
	return len(m.dirty) > 0 && m.primerDue(now) && slices.ContainsFunc(m.dirty, m.inPrimer)
}

// inPrimer tells whether the snapshot's primer has this twin.
func (m *Machine) inPrimer(name string) bool {
	if !isTwin(name) {
		return false
	}
	f := m.filter(strings.TrimPrefix(name, resource.TwinPrefix))
	return f != nil && f.Missing == ""
}

// primerDue tells whether the primer goes out with the next listeners.
func (m *Machine) primerDue(now time.Time) bool {
	if m.snap.Primer == nil || !m.subs[Listener].subscribed {
		return false
	}
	want := listenerItem(m.snap.Primer)
	have, ok := m.subs[Listener].have.find(want.name)
	return !(ok && have.is(want)) && m.wants(Listener, want.name) && !m.held(Listener, want.name, want.version, now)
}

// listenerChanges compares what the Envoy has with what it may have now. It
// gives false where that can't be said without dropping a listener.
func (m *Machine) listenerChanges(now time.Time) (changed []item, gone []string, ok bool) {
	s := &m.subs[Listener]
	if s.unknown && s.nonce == 0 && !m.subs[Extension].subscribed {
		// A reconnecting Envoy whose listeners are not known: what its slots
		// have comes with its next request.
		return nil, nil, m.snap.Primer == nil
	}
	early := m.bare() && m.inProgress(now)
	unsettled := false
	for _, l := range m.snap.Listeners {
		it := listenerItem(l)
		have, had := s.have.find(it.name)
		if !m.wants(Listener, it.name) || had && have.is(it) {
			continue
		}
		switch {
		case !early && m.placeable(l, now) && !m.held(Listener, it.name, it.version, now):
			changed = append(changed, it)
		case had && have.res == nil && !m.delta:
			// It has to be in the response, but its bytes are not known.
			return nil, nil, false
		}
		unsettled = true
	}
	changed = m.inTurn(changed, now)
	for _, name := range m.obsolete(Listener) {
		if name != resource.PrimerListener {
			gone = append(gone, name)
		}
	}
	if m.warming(now) {
		return changed, gone, true // with the primer would go the twin that a slot is filled from
	}
	if m.primerDue(now) && (m.newTwins() || !unsettled && len(gone) == 0) {
		changed = append(changed, listenerItem(m.snap.Primer))
		slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.name, b.name) })
	}
	if _, had := s.have.find(resource.PrimerListener); had && m.snap.Primer == nil && !unsettled && len(gone) == 0 {
		gone = append(gone, resource.PrimerListener)
	}
	return changed, gone, true
}

// listenersSettled tells whether the Envoy's listeners are the snapshot's.
func (m *Machine) listenersSettled(now time.Time) bool {
	s := &m.subs[Listener]
	if !s.subscribed {
		return true
	}
	if s.flight != nil || m.warming(now) {
		return false
	}
	if m.complete(Listener) {
		return true
	}
	for _, l := range m.snap.Listeners {
		if have, ok := s.have.find(l.Name); m.wants(Listener, l.Name) && !(ok && have.version == base(l.Version)) {
			return false
		}
	}
	return len(m.obsolete(Listener)) == 0
}

// newTwins tells whether the primer brings a twin that is not in the one that
// Envoy has.
func (m *Machine) newTwins() bool {
	have, _ := m.subs[Listener].have.find(resource.PrimerListener)
	return slices.ContainsFunc(m.snap.Primer.Slots, func(twin string) bool { return !slices.Contains(have.slots, twin) })
}

// bare tells whether the Envoy has no listener that takes requests.
func (m *Machine) bare() bool {
	s := &m.subs[Listener]
	return !s.unknown && !slices.ContainsFunc(s.have.items, func(it item) bool { return it.name != resource.PrimerListener })
}

// inProgress tells whether some filter may still be primed if it is waited for.
func (m *Machine) inProgress(now time.Time) bool {
	return slices.ContainsFunc(m.unprimed(), func(f *resource.Filter) bool { return !m.givenUp(f, now) })
}

// primed tells whether this Envoy has the filter, in its wanted version, ready
// to be used.
func (m *Machine) primed(f *resource.Filter) bool {
	have, ok := m.subs[Extension].have.find(m.point(f))
	return ok && have.version == f.Version && !slices.Contains(m.dirty, have.name)
}

// point is the resource that the filter is primed at: its twin, or, on an
// Envoy whose listeners are not from here, the slot itself.
func (m *Machine) point(f *resource.Filter) string {
	if !m.subs[Listener].subscribed && !m.wants(Extension, f.TwinName) {
		return f.Name
	}
	return f.TwinName
}

// givenUp tells whether a filter that fails has been waited for long enough
// for the rest to go on without it.
func (m *Machine) givenUp(f *resource.Filter, now time.Time) bool {
	tr := m.try(Extension, f.Name)
	return tr != nil && (f.Missing != "" || tr.refused) && !now.Before(tr.since.Add(patience))
}

// placeable tells whether every slot of l either has a content, which it keeps,
// or gets one as soon as Envoy asks for it.
func (m *Machine) placeable(l *resource.Listener, now time.Time) bool {
	return !slices.ContainsFunc(l.Slots, func(name string) bool { return !m.slotReady(name, now) || !m.slotStays(name) })
}

// slotReady tells whether a slot has a content, or gets one if Envoy asks now.
func (m *Machine) slotReady(name string, now time.Time) bool {
	if _, ok := m.subs[Extension].have.find(name); ok && m.wants(Extension, name) {
		return true
	}
	_, ok := m.slotItem(name, now)
	return ok
}

// slotStays tells whether what makes a slot ready is still there when a
// listener comes that is sent now.
func (m *Machine) slotStays(name string) bool {
	f := m.filter(name)
	if f == nil {
		return true
	}
	have := m.subs[Extension].have
	if _, ok := have.find(name); ok && m.inUse(name) {
		return true
	}
	if twin, ok := have.find(f.TwinName); ok && twin.filter != nil && m.inUse(f.TwinName) {
		return true // not one of which only the version is known
	}
	return f.OnFailure == definition.Open // what does nothing can be had at any time
}

// inUse tells whether some listener that the Envoy has holds the slot, or the
// primer the twin. One that none holds any more it is about to let go, with its
// content, though it has not said so yet.
func (m *Machine) inUse(slot string) bool {
	return slices.ContainsFunc(m.subs[Listener].have.items, func(l item) bool {
		return slices.Contains(l.slots, slot) || slices.Contains(l.static, slot)
	})
}

// wait is what a listener that warms waits for.
type wait uint8

const (
	forNothing wait = iota
	forStatic       // only what Envoy may refuse
	forFilter       // a slot's content that is primed
)

// warming tells whether some listener waits for a slot's content that can be
// given. It gets it before anything else is sent that may be NACKed: one NACK
// ends the wait of all.
func (m *Machine) warming(now time.Time) bool { return m.waits(now) != forNothing }

// waits tells what listeners wait for.
func (m *Machine) waits(now time.Time) wait {
	listeners, slots := m.subs[Listener].have, m.subs[Extension].have
	if !now.Before(m.warmEnd) || slots.fills.Load() == listeners {
		return forNothing
	}
	filled, waits := true, forNothing
	for _, l := range listeners.items {
		for _, slot := range l.slots {
			if _, ok := slots.find(slot); ok || isTwin(slot) {
				continue
			}
			filled = false
			if _, ok := m.slotItem(slot, now); ok {
				return forFilter
			}
		}
		for _, slot := range l.static {
			if _, ok := slots.find(slot); ok {
				continue
			}
			filled = false
			if m.toCome(slot, now) {
				waits = forStatic
			}
		}
	}
	if filled {
		slots.fills.Store(listeners)
	}
	return waits
}

// gateOpens tells whether a fresh Envoy has all it is to have, or all but what
// it can't have.
func (m *Machine) gateOpens(now time.Time) bool {
	s := &m.subs[Listener]
	if s.flight != nil || m.warming(now) || !m.clustersSettled(now) {
		return false
	}
	if m.subs[Extension].flight != nil {
		return false
	}
	if !m.subs[Extension].subscribed && slices.ContainsFunc(s.have.items, func(l item) bool { return len(l.slots) > 0 }) {
		return false // what its slots have comes with its next request
	}
	delivered := 0
	for _, l := range m.snap.Listeners {
		it := listenerItem(l)
		if have, ok := s.have.find(it.name); ok && have.is(it) {
			delivered++
			continue
		}
		if m.held(Listener, it.name, it.version, now) {
			continue // Envoy refused it; the others need not wait
		}
		if !slices.ContainsFunc(l.Slots, func(n string) bool {
			f := m.filter(n)
			return f != nil && !m.slotReady(n, now) && m.givenUp(f, now)
		}) {
			return false // on its way
		}
	}
	if len(m.snap.Listeners) == 0 {
		return !m.inProgress(now)
	}
	return delivered > 0
}
