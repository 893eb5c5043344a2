package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

const warmLimit = 2 * time.Minute // how long to wait for an Envoy that has accepted a listener to subscribe to its filters

// commit sends an action.
func (m *Machine) commit(a action, now time.Time) {
	s := &m.subs[a.Type]
	m.nonce++
	s.flight, s.nonce, s.sent = a.Response, m.nonce, now.Sub(m.began)
	m.ready.Sends = append(m.ready.Sends, Send{a.Response, m.nonce})
	switch {
	case a.purpose == prime:
		for _, it := range a.Changed {
			p := m.priming(it.Filter.Name)
			*p = p.Next(push{m.cached(it.Filter) && !m.old(it.Filter, now)}, m.timing(now))
		}
	case a.purpose == restore:
		m.refusal(Extension, a.Changed[0].Name).restored = true
	case a.Type == Listener:
		m.promise(a.Response)
		m.loseRoutes(a.Response)
	case a.Type == Cluster:
		m.resendEndpoints(a.Response)
	}
}

// resendEndpoints forgets endpoints, in delta, if r replaces a cluster. The new cluster
// waits for its endpoints again, and delays the ACK until it has them, but Envoy does not
// subscribe to them again.
func (m *Machine) resendEndpoints(r *Response) {
	s := &m.subs[Endpoint]
	if !m.delta || s.names == nil {
		return
	}
	for _, it := range r.Changed {
		if _, had := r.From.Find(it.Name); had {
			m.forget(Endpoint, s.names.Sorted)
			return
		}
	}
}

// keepPromises forgets promises for slots that have been filled.
func (m *Machine) keepPromises() {
	m.promises = slices.DeleteFunc(m.promises, func(p promise) bool {
		_, filled := m.subs[Extension].have.Find(p.slot)
		return filled
	})
	if len(m.promises) == 0 {
		m.promises = nil // so that large ones are freed
	}
}

// forgetPromises forgets promises for slots of listeners that the Envoy no longer has. A
// listener that was only sent as a replacement may not have arrived.
func (m *Machine) forgetPromises() {
	m.promises = slices.DeleteFunc(m.promises, func(p promise) bool {
		of, id, own := resource.SlotOf(p.slot)
		return !slices.ContainsFunc(m.subs[Listener].have.Items, func(l item) bool {
			return own && l.Name == of && resource.IDOf(l.Version) == id || slices.Contains(l.Slots, p.slot) || slices.Contains(l.Static, p.slot)
		})
	})
}

// promise records what may be needed for the slots of the listeners of r until they are
// filled: empty contents, and resources that are sent as written.
func (m *Machine) promise(r *Response) {
	m.keepPromises()
	have := m.subs[Extension].have
	add := func(p promise, to []promise) {
		_, filled := have.Find(p.slot)
		if !filled && !slices.ContainsFunc(to, func(o promise) bool { return o.slot == p.slot }) {
			m.promises = append(m.promises, p)
		}
	}
	for _, l := range r.Changed {
		for _, name := range l.Slots {
			if f := m.filterAt(name); f != nil && f.Noop() != nil {
				add(promise{slot: name, filter: name, twin: f.TwinName, noop: f.Noop()}, m.promises)
			}
		}
		for _, name := range l.Static {
			if it, ok := m.lookup(Extension, name); ok && it.Written {
				add(promise{slot: name, written: it.Res}, m.promises)
			}
		}
		if placement := m.placements().byListener[l.Name]; placement != nil && !placement.kept {
			before := m.promises // each of which is for another slot
			m.promises = slices.Grow(m.promises, len(placement.fresh))
			for _, p := range placement.fresh {
				add(p, before)
			}
		}
	}
}

// remember records what a reconnecting Envoy lists as what it has.
func (m *Machine) remember(r Request, now time.Time) {
	s := &m.subs[r.Type]
	var items []item
	if m.delta {
		for name, version := range r.Initial {
			items = append(items, item{Name: name, Version: intern.BaseVersion(version)})
		}
		slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	} else {
		items = intern.ParseItems(r.Version)
	}
	items = slices.DeleteFunc(items, func(it item) bool { return slices.Contains(m.lost, lost{r.Type, it.Name}) })
	m.known = m.known || len(r.Initial) > 0 || r.Version != ""
	s.unknown = len(items) == 0 && r.Version != ""
	m.has(r.Type, m.interner.Acked(r.Type, items))
	if r.Type == Extension && s.unknown {
		m.unknown = slices.DeleteFunc(slices.Concat(r.Names, r.Subscribe), func(n string) bool { return !isOwn(n) })
		slices.Sort(m.unknown)
		m.at = nil
	}
	if r.Type == Extension && m.known && !s.unknown {
		m.poisonUnfilled(slices.Concat(r.Names, r.Subscribe))
	}
	m.resolve(r.Type)
	if r.Type == Listener {
		m.warmEnd = now.Add(warmLimit) // they may still be warming
	}
}

// has records what the Envoy has of a type.
func (m *Machine) has(t Type, a *acked) {
	m.subs[t].have, m.at = a, nil
}

// forgetUnknown forgets unknown slots whose content has become known, or that are gone.
func (m *Machine) forgetUnknown(is func(slot string) bool) {
	if len(m.unknown) > 0 {
		m.unknown, m.at = slices.DeleteFunc(m.unknown, is), nil
	}
}

// resolve finds the resources that a reconnecting Envoy has listed by version. Once all are
// found, the result is shared with all Envoys that list the same, except for RTDS.
func (m *Machine) resolve(t Type) {
	untold := func(it item) bool { return it.Res == nil }
	if !slices.ContainsFunc(m.subs[t].have.Items, untold) {
		return
	}
	if t == Runtime {
		m.has(t, m.findResources(t))
		return
	}
	shared := &m.standing().resolved[t]
	if known := shared.Load(); known != nil {
		m.has(t, known.acked)
		return
	}
	found := m.findResources(t)
	if !slices.ContainsFunc(found.Items, untold) {
		shared.Store(&resolved{found})
	}
	m.has(t, found)
}

// resolved is an Acked all of whose resources are known. (The compiler fails on an
// atomic.Pointer[acked] within what an acked itself refers to.)
type resolved struct{ acked *acked }

func (m *Machine) findResources(t Type) *acked {
	items := slices.Clone(m.subs[t].have.Items)
	var found []item
	for i, it := range items {
		if it.Res == nil {
			if want, ok := m.lookup(t, it.Name); ok && want.Version == it.Version {
				items[i] = want
				found = append(found, want)
			} else if f := m.heldBy(it); f != nil {
				items[i] = filterItem(f, it.Name, 0)
				found = append(found, items[i])
			} else if r := m.routesAs(it); t == Route && r != nil {
				items[i] = intern.PlainItem(r)
			} else if old, ok := m.interner.Recall(t, it.Name, it.Version); ok {
				items[i] = old
			} else if c := m.snap.Upstream(it.Name); t == Cluster && c != nil && c.Version == it.Version {
				items[i] = intern.PlainItem(c)
			}
		}
	}
	m.interner.Remember(t, m.delta, found)
	return m.interner.Acked(t, items)
}

// track keeps a Priming for each filter that is not primed, and removes those of filters
// that are primed or gone.
func (m *Machine) track(now time.Time) {
	s := &m.subs[Extension]
	seen := tracked{snap: m.snap, at: s.have, lds: m.subs[Listener].subscribed}
	if !seen.lds {
		if !s.subscribed {
			return
		}
		// Otherwise filters are primed at their twins, whatever the Envoy subscribes to.
		seen.names, seen.wildcard = s.names, s.wildcard
	}
	if seen == m.tracked {
		return
	}
	m.tracked = seen
	m.refusals = slices.DeleteFunc(m.refusals, func(r refusal) bool {
		newest := r.written && slices.Contains(m.poisoned, r.name) // Envoy would ACK the same bytes; see written.go
		return !newest && !m.wantsRefused(r)
	})
	m.primings = slices.DeleteFunc(m.primings, func(p Priming) bool {
		f := m.filter(p.Filter)
		return f == nil || (p.Version != f.Version || !p.slotOnly) && m.primed(f)
	})
	attempt := 0
	if m.known {
		attempt = m.salt
	}
	unprimed := m.unprimed()
	if standbys := m.standbysToPrime(); len(standbys) > 0 {
		unprimed = slices.Concat(standbys, unprimed)
	}
	if len(m.primings) == 0 {
		m.primings = slices.Grow[[]Priming](nil, len(unprimed)) // so that large ones are freed
	}
	for _, f := range unprimed {
		if m.priming(f.Name) == nil {
			at := attempt
			if slices.Contains(m.poisoned, m.point(f)) {
				at += int(m.nonce) // more than there were: the last rejected bytes may be wanted again (invariant 5)
			}
			m.primings = append(m.primings, newPriming(f, at, now))
		}
	}
	for i := range m.primings {
		p := &m.primings[i]
		if f := m.filter(p.Filter); p.Version != f.Version {
			at := attempt
			if slices.Contains(m.poisoned, m.point(f)) {
				at = max(at, p.attempt) // see above
			}
			*p = p.Next(supersede{f, at}, m.timing(now))
		}
	}
}

// tracked is the input of track, without what answers of the Envoy change.
type tracked struct {
	snap          *resource.Snapshot
	names         *intern.NameSet
	lds, wildcard bool
	at            *acked // of extension configurations
}

func (m *Machine) acked(t Type, r *Response, now time.Time) {
	s := &m.subs[t]
	before, after := s.have, r.To
	if before != r.From {
		// Names were dropped while it was in flight; prune handles the rest.
		after = m.interner.Acked(t, intern.Merge(before.Items, r.Changed, r.Gone))
	}
	m.has(t, after)
	s.unknown = false
	for _, it := range r.Changed {
		m.done(t, it, now)
		if t != Extension {
			continue
		}
		m.poisoned = slices.DeleteFunc(m.poisoned, func(n string) bool { return n == it.Name })
		m.forgetUnknown(func(n string) bool { return n == it.Name })
	}
	switch t {
	case Extension:
		m.keepPromises()
		if len(m.alarms) > 0 && !m.untold() {
			m.alarms = nil // of VMs that have given way to others
		}
		m.primings = slices.DeleteFunc(m.primings, func(p Priming) bool { return p.Phase == Primed })
		if len(m.primings) == 0 {
			m.primings = nil // several kilobytes that most Envoys need only once
		}
		m.lose(r)
		m.took(r, before, now)
	case Route:
		m.lose(r)
	case Listener:
		m.reports(r)
		m.warmEnd = now.Add(warmLimit)
		m.forgetPromises()
		m.loseUnused()
		m.replace(r.Changed, before, now)
		m.tookLoggers(r.Changed, before, now)
	}
}

// done ends what was recorded about the version that was ACKed.
func (m *Machine) done(t Type, it item, now time.Time) {
	m.refusals = slices.DeleteFunc(m.refusals, func(r refusal) bool {
		return r.typ == t && r.name == it.Name && r.version == it.Version
	})
	if it.Filter == nil {
		return
	}
	if p := m.priming(it.Filter.Name); p != nil && p.Version == it.Filter.Version && (p.slotOnly || it.Name == m.point(it.Filter)) {
		*p = p.Next(ack{}, m.timing(now))
	}
}
