package swap

import (
	"slices"
	"time"
)

// Extension configurations that are not Wasm filters are sent as they are
// written. Envoy may refuse one, and takes the same bytes again for what it
// has, though it has not applied them. So each goes alone in its response, once;
// one that is refused is replaced by what Envoy had, as a listener is built from
// the newest content of each slot, refused or not.

// nextWritten is the next of them to send, first those that a listener waits
// for.
func (m *Machine) nextWritten(now time.Time, waits wait) (item, bool) {
	if it, ok := m.nextRestored(); ok {
		return it, true
	}
	s := &m.subs[Extension]
	var changed item
	for _, name := range m.behind() {
		it, ok := m.lookup(Extension, name)
		if !ok || !it.written || m.held(Extension, name, it.version, now) {
			continue
		}
		switch have, filled := s.have.find(name); {
		case !filled:
			return it, true
		case !have.is(it) || slices.Contains(m.dirty, name):
			changed = it
		}
	}
	return changed, changed.written && waits == forNothing
}

// restorable is what is to take the place of what was refused: what Envoy had.
func (m *Machine) restorable() (*try, item) {
	for _, tr := range m.tries {
		if !tr.written || tr.restored || !slices.Contains(m.dirty, tr.name) {
			continue
		}
		if have, ok := m.subs[Extension].have.find(tr.name); ok && have.res != nil && have.version != tr.version {
			return tr, have
		}
	}
	return nil, item{}
}

func (m *Machine) nextRestored() (item, bool) {
	tr, it := m.restorable()
	if tr == nil {
		return item{}, false
	}
	tr.restored = true
	return it, true
}

// refusedWritten notes the NACK of what is not sent again.
func (tr *try) refusedWritten(message string) {
	tr.written, tr.refused, tr.message = true, true, message
}

// soilStatic marks the contents of a refused listener's slots as in need of
// another push: one may have been refused on an earlier stream.
func (m *Machine) soilStatic(l item) {
	for _, name := range l.static {
		if _, ok := m.subs[Extension].have.find(name); ok && !slices.Contains(m.dirty, name) {
			m.dirty = append(m.dirty, name)
		}
	}
}

// inTurn keeps listeners apart that wait for what Envoy may refuse: each goes
// alone, after all others.
func (m *Machine) inTurn(listeners []item, now time.Time) []item {
	var sure, doubtful []item
	for _, l := range listeners {
		if m.doubtful(l, now) {
			doubtful = append(doubtful, l)
		} else {
			sure = append(sure, l)
		}
	}
	if len(sure) > 0 || len(doubtful) == 0 || m.warming(now) {
		return sure
	}
	return doubtful[:1]
}

// doubtful tells whether a listener will wait for what Envoy may refuse.
func (m *Machine) doubtful(l item, now time.Time) bool {
	return slices.ContainsFunc(l.static, func(name string) bool {
		_, filled := m.subs[Extension].have.find(name)
		return !(filled && m.wants(Extension, name)) && m.toCome(name, now)
	})
}

// toCome tells whether a slot's content is sent as soon as Envoy asks for it.
func (m *Machine) toCome(name string, now time.Time) bool {
	it, ok := m.lookup(Extension, name)
	return ok && it.written && !m.held(Extension, name, it.version, now)
}

// doubtInFlight tells whether a NACK may come: it would end the wait of
// listeners that warm.
func (m *Machine) doubtInFlight() bool {
	f := m.subs[Extension].flight
	return f != nil && slices.ContainsFunc(f.changed, func(it item) bool { return it.written || isTwin(it.name) })
}

// forgetWritten drops what was noted of a slot that Envoy has let go: when it
// takes it up again it has seen nothing of it.
func (m *Machine) forgetWritten() {
	m.tries = slices.DeleteFunc(m.tries, func(tr *try) bool {
		return tr.written && !m.wants(Extension, tr.name)
	})
}
