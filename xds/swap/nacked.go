package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// moduleAge is for how long Envoy certainly has a module in its cache, after something has
// looked for it there. It drops it after 24 hours (CODE_CACHE_SECONDS_CACHING_TTL in its
// wasm.cc) when it loads another module, although a VM runs it.
const moduleAge = 23 * time.Hour

// old reports whether Envoy may have dropped a module that it has run: what has it was not
// put in place on this stream, or too long ago.
func (v *state) old(f *resource.Filter, now time.Time) bool {
	return !f.Lua && !slices.ContainsFunc(v.stamps, func(s stamp) bool {
		return now.Before(v.began.Add(s.at).Add(moduleAge)) && slices.ContainsFunc(v.subs[Extension].have.Items, func(it item) bool {
			return it.Filter != nil && it.Filter.Name == s.name && it.Filter.SHA256 == f.SHA256
		})
	})
}

func (m *Machine) nacked(t Type, r *Response, message string, now time.Time) {
	if t == Extension {
		for _, it := range r.Changed {
			m.nackedExtension(it, len(r.Changed) == 1, message, now)
		}
		return
	}
	refused := r.Changed // if Envoy does not name what it rejects
	if named := namedIn(message, r); len(named) > 0 {
		refused = named
		if t == Listener {
			m.tookRest(r, refused, message, now)
		}
	}
	for _, it := range refused {
		m.refuse(t, it, message, now)
		if t == Listener {
			m.poisonedBy(it)
		}
	}
}

// namedIn returns what a NACK of r says was rejected.
func namedIn(message string, r *Response) []item {
	names := mentions
	if r.Type == Listener && strings.HasPrefix(message, listenersRejected) {
		names = listsListener // a reason may mention another listener, which has the same address
	}
	return slices.DeleteFunc(slices.Clone(r.Changed), func(it item) bool { return !names(message, it.Name) })
}

// listenersRejected is how the NACK of listeners begins. Each that Envoy rejects follows as
// "NAME: REASON", on a line of its own. It has taken all others of the response, and
// removed what the response removes.
const listenersRejected = "Error adding/updating listener(s) "

func listsListener(message, name string) bool {
	list := strings.TrimPrefix(message, listenersRejected)
	return strings.HasPrefix(list, name+": ") || strings.Contains(list, "\n"+name+": ")
}

// tookRest records what an Envoy has taken of a response with listeners that it has
// rejected: it may warm them, so their slots are filled, and nothing that it may reject is
// sent meanwhile (invariant 3). They are sent again, and what the response removes is removed
// again, because an Envoy that reconnects reports only what it has ACKed. If the message is
// truncated, nothing counts as taken.
func (m *Machine) tookRest(r *Response, refused []item, message string, now time.Time) {
	if !strings.HasPrefix(message, listenersRejected) || !strings.HasSuffix(message, "\n") {
		return
	}
	taken := slices.DeleteFunc(slices.Clone(r.Changed), func(it item) bool { return slices.ContainsFunc(refused, it.Is) })
	if len(taken) == 0 {
		return
	}
	m.acked(Listener, m.interner.Step(r.From, Listener, m.delta, taken, nil), now)
	m.prune(Listener)
	for _, it := range taken {
		m.taken = append(m.taken, it.Name)
	}
}

// reports records that an Envoy reports the listeners of r from now on, which it has ACKed.
func (m *Machine) reports(r *Response) {
	m.taken = slices.DeleteFunc(m.taken, func(name string) bool {
		_, has := m.subs[Listener].have.Find(name)
		_, acked := changedBy(r, name)
		return acked || !has
	})
}

// refuse records the NACK of anything that is not one of our filters.
func (m *Machine) refuse(t Type, it item, message string, now time.Time) {
	r := m.refusal(t, it.Name)
	if r == nil {
		m.refusals = append(m.refusals, refusal{typ: t, name: it.Name})
		r = &m.refusals[len(m.refusals)-1]
	}
	if r.version != it.Version {
		r.version, r.nacks = it.Version, 0
	}
	if r.nacks++; r.nacks == m.reportedAt(t, it, message) {
		m.ready.Refused = append(m.ready.Refused, Refusal{Type: t, Name: it.Name, Version: it.Version, Message: message})
	}
	r.message = message
	r.due = now.Add(m.timing(now).backoff(r.nacks))
	r.written = it.Written
}

// reportedAt returns at which NACK in a row a rejection is reported; 0: never, because what
// was rejected serves only filters. A listener may be rejected because Envoy has dropped
// the module of one of its filters or access loggers from its cache, and fetches it again.
func (m *Machine) reportedAt(t Type, it item, message string) int {
	switch {
	case it.Name == resource.PrimerListener, t == Extension && !it.Written:
		return 0
	case t == Listener && strings.Contains(message, cacheMiss):
		return unseenOld
	}
	return 1
}

// cacheMiss is in the message of a NACK of what needs a module that Envoy does not have, or
// that it can't start.
const cacheMiss = "Unable to create Wasm plugin"

// poison marks the content of a slot or twin as in need of another push.
func (m *Machine) poison(name string) {
	if !slices.Contains(m.poisoned, name) {
		m.poisoned = append(m.poisoned, name)
	}
}

// poisonedBy marks the contents of a rejected listener's slots as in need of another push.
// Envoy builds a listener from the last content that it was sent for each slot, even one
// that it has rejected, possibly on an earlier stream, and then rejects the listener.
func (m *Machine) poisonedBy(l item) {
	s := &m.subs[Extension]
	for _, name := range l.Static {
		if _, ok := s.have.Find(name); ok {
			m.poison(name)
		}
	}
	if l.Name != resource.PrimerListener || s.names == nil {
		return
	}
	for _, name := range s.names.Sorted {
		if isTwin(name) {
			m.poison(name)
		}
	}
}

// poisonUnfilled marks slots of a reconnecting Envoy that have no content: they may have
// been sent one on an earlier stream, and Envoy may have rejected it.
func (m *Machine) poisonUnfilled(names []string) {
	for _, name := range names {
		if _, filled := m.subs[Extension].have.Find(name); !filled && isOwn(name) {
			m.poison(name)
		}
	}
}

func (m *Machine) nackedExtension(it item, alone bool, message string, now time.Time) {
	m.poison(it.Name)
	f := it.Filter
	if f == nil {
		m.refuse(Extension, it, message, now)
		return
	}
	p := m.priming(f.Name)
	if p == nil {
		m.primings = append(m.primings, newPriming(f, m.salt, now))
		p = &m.primings[len(m.primings)-1]
	}
	p.slotOnly = !isTwin(it.Name) && m.wants(Extension, f.TwinName)
	p.attempt = max(p.attempt, attemptOf(it.Res)) + 1
	cached, old := m.cached(f), strings.Contains(message, cacheMiss) && m.old(f, now)
	if p.slotOnly { // what the twin has ACKed is rejected only if Envoy has dropped the module since
		cached, old = false, false
	}
	switch {
	case p.Version != f.Version: // superseded while in flight
	case alone:
		*p = p.Next(nack{message, cached && !old, cached && old}, m.timing(now))
		if !m.isCrashed(it) {
			m.failed(p)
		}
	default:
		*p = p.Next(nackTogether{message, cached && !old}, m.timing(now))
	}
}
