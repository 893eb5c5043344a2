package swap

import (
	"slices"
	"time"
)

// Extension configurations that are not Wasm filters are sent as written. Envoy may reject
// one, and it ACKs the same bytes again because it takes them for what it has, although it
// has not applied them. So each goes alone in its response, once, and a rejected one is not
// sent again, even if it is no longer wanted for a time, until the slot gets another one. It
// is replaced by what Envoy had, because a listener is built from the newest content of each
// slot, rejected or not.

// nextWritten returns the next of them to send, first those that a listener waits for.
func (v *state) nextWritten(now time.Time, waits wait) (item, bool) {
	s := &v.subs[Extension]
	var changed item
	for _, name := range v.behind() {
		it, ok := v.written(name)
		if !ok || v.held(Extension, it, now) {
			continue
		}
		switch have, filled := s.have.Find(name); {
		case !filled:
			return it, true
		case !have.Is(it) || slices.Contains(v.poisoned, name):
			changed = it
		}
	}
	return changed, changed.Written && waits == forNothing
}

// restorable returns what replaces a rejected content: what Envoy had.
func (v *state) restorable() (*refusal, item) {
	for i := range v.refusals {
		r := &v.refusals[i]
		if !r.written || r.restored || !slices.Contains(v.poisoned, r.name) || !v.wantsRefused(*r) {
			continue
		}
		if have, ok := v.subs[Extension].have.Find(r.name); ok && have.Res != nil && have.Version != r.version {
			return r, have
		}
	}
	return nil, item{}
}

// inTurn separates listeners that wait for something that Envoy may reject (invariant 3):
// each of these goes alone, after all others.
func (v *state) inTurn(listeners []item, now time.Time) []item {
	var sure, doubtful []item
	for _, l := range listeners {
		if v.doubtful(l, now) {
			doubtful = append(doubtful, l)
		} else {
			sure = append(sure, l)
		}
	}
	if len(sure) > 0 || len(doubtful) == 0 || v.warming(now) {
		return sure
	}
	return doubtful[:1]
}

// doubtful reports whether a listener will wait for something that Envoy may reject.
func (v *state) doubtful(l item, now time.Time) bool {
	return slices.ContainsFunc(l.Static, func(name string) bool {
		_, filled := v.subs[Extension].have.Find(name)
		return !(filled && v.wants(Extension, name)) && v.toCome(name, now)
	})
}

// toCome reports whether a slot's content is sent as soon as Envoy subscribes to it.
func (v *state) toCome(name string, now time.Time) bool {
	it, ok := v.written(name)
	return ok && !v.held(Extension, it, now)
}

// written returns what a slot gets as written, even if that is gone and a listener that was
// sent with it still waits for it, but then only once.
func (v *state) written(name string) (item, bool) {
	it, ok := v.lookup(Extension, name)
	if !ok && !slices.Contains(v.poisoned, name) {
		it, ok = v.leftItem(name)
	}
	return it, ok && it.Written
}

// doubtInFlight reports whether a NACK may arrive, which would end the wait of warming
// listeners (invariant 3).
func (v *state) doubtInFlight() bool {
	f := v.subs[Extension].flight
	return f != nil && slices.ContainsFunc(f.Changed, func(it item) bool {
		return it.Written || isTwin(it.Name) || it.Filter != nil && !v.primerHas(it.Filter, it.Filter.Version) // its twin has gone since
	})
}

// forgetWritten removes what was recorded about slots that Envoy has dropped: when it
// subscribes to one again, it has seen nothing of its content.
func (m *Machine) forgetWritten() {
	m.refusals = slices.DeleteFunc(m.refusals, func(r refusal) bool {
		return r.written && !m.wants(Extension, r.name)
	})
}
