package swap

import (
	"cmp"
	"slices"

	"wasmxds/definition"
	"wasmxds/resource"
)

// InPlace reports whether the Envoy has everything in the snapshot that it subscribes to,
// and has answered everything that it was sent.
func (m *Machine) InPlace() bool { return m.answered() && m.hasEverything() }

// Has reports whether the Envoy lacks nothing that its choice changes, has nothing of a
// choice that was taken from it, and has answered everything that it was sent. What else it
// lacks does not count: it may have rejected that long ago, or a module may be missing.
func (m *Machine) Has(g Goal) bool {
	return m.answered() && !g.replacedIn(m.snap) && (m.hasEverything() || g.Base != nil && !m.lacksChanged(g) && !m.keeps(g))
}

// Concerns reports whether what the Envoy rejected is part of its goal: it is changed, or is
// a listener that lacks something that is. Otherwise the base has the very same.
func (m *Machine) Concerns(g Goal, r Refusal) bool {
	if r.Type != Listener {
		return g.has(r.Type, r.Name)
	}
	l := m.listener(r.Name)
	return l == nil || g.listener(r.Name) || m.subs[Extension].subscribed && m.lacksChangedIn(g, l) // until then it is unknown what it lacks
}

// answered reports whether the Envoy has answered everything that it was sent, and has
// subscribed to what it needs.
func (m *Machine) answered() bool {
	for t := range Types {
		if m.subs[t].flight != nil {
			return false
		}
	}
	return !m.mute()
}

func (m *Machine) hasEverything() bool {
	return len(m.slotsBehind()) == 0 && !slices.ContainsFunc(m.unprimed(), m.asks) && m.Settled() && !m.warmsAny()
}

// slotsBehind is behind for an Envoy that may not have subscribed to filters.
func (m *Machine) slotsBehind() []string {
	if m.subs[Extension].names == nil {
		return nil
	}
	return m.behind()
}

// cannot reports whether the Envoy can't have everything, as far as is known.
func (m *Machine) cannot() bool {
	return slices.ContainsFunc(m.refusals, m.wantsRefused) || slices.ContainsFunc(m.primings, func(p Priming) bool { return p.fails() })
}

// Goal is what an Envoy's choice asks of it: that in which To differs from Base.
type Goal struct {
	To   *resource.Snapshot
	Base *resource.Snapshot // nil: everything is different
	Left *resource.Snapshot // of the choice before, if that was taken from it; nil: none was
}

// differs reports whether something in To, found by get, is not the same in Base.
func differs[T any](g Goal, get func(*resource.Snapshot) *T, same func(a, b *T) bool) bool {
	if g.Base == nil {
		return true
	}
	now, was := get(g.To), get(g.Base)
	return (now == nil) != (was == nil) || now != was && !same(now, was)
}

func (g Goal) filter(name string) bool {
	return differs(g, func(s *resource.Snapshot) *resource.Filter { return s.Filter(name) }, func(a, b *resource.Filter) bool {
		return a.Version == b.Version && (a.Missing == "") == (b.Missing == "")
	})
}

// listener compares listeners and their routes. The filters in them are compared by name
// only: their versions are in slots.
func (g Goal) listener(name string) bool {
	get := func(s *resource.Snapshot) *resource.Listener { return listenerIn(s, name) }
	return differs(g, get, func(a, b *resource.Listener) bool {
		return a.Base == b.Base && a.RoutesBase == b.RoutesBase && slices.EqualFunc(a.Chains, b.Chains, slices.Equal) &&
			slices.Equal(a.Loggers, b.Loggers) && slices.Equal(a.Static, b.Static) && slices.Equal(a.Routes, b.Routes)
	})
}

// has reports whether a resource of a type is part of the change, or a filter of this name.
func (g Goal) has(t Type, name string) bool {
	if of, _, own := resource.RoutesOf(name); t == Route && own {
		return g.listener(of)
	}
	get := func(s *resource.Snapshot) *resource.Resource { return named(resourcesIn(s, t), name) }
	same := func(a, b *resource.Resource) bool { return a.Version == b.Version }
	return differs(g, get, same) || t == Extension && g.filter(filterOf(name))
}

// replacedIn reports whether an Envoy that should have the change gets another version of a
// filter that is part of it, in place of one that crashes, or that it rejects.
func (g Goal) replacedIn(gets *resource.Snapshot) bool {
	return gets != g.To && slices.ContainsFunc(g.To.Filters, func(f *resource.Filter) bool {
		return gets.Filter(f.Name).Version != f.Version && g.filter(f.Name)
	})
}

// lacksChanged reports whether the Envoy lacks anything that a change changes, or has
// anything that it removes. A cluster may have to stay while the Envoy can't have everything.
func (m *Machine) lacksChanged(g Goal) bool {
	if slices.ContainsFunc(m.unprimed(), func(f *resource.Filter) bool { return m.asks(f) && g.filter(f.Name) }) ||
		slices.ContainsFunc(m.slotsBehind(), func(slot string) bool { return m.lacksContent(slot) && m.changedSlot(g, slot) }) {
		return true
	}
	for slot := range m.moves() {
		if m.changedSlot(g, slot) {
			return true
		}
	}
	for _, t := range []Type{Cluster, Endpoint, Secret, Route} {
		if !m.subs[t].subscribed || m.complete(t) {
			continue
		}
		for name := range m.lacking(t) {
			if (t != Route || m.routeInUse(name)) && g.has(t, name) {
				return true
			}
		}
	}
	gone := func(name string) bool { return g.has(Cluster, name) }
	return !m.cannot() && slices.ContainsFunc(m.obsolete(Cluster), gone) || m.lacksChangedListener(g)
}

// lacksContent reports whether a slot that may be behind is.
func (v *state) lacksContent(slot string) bool {
	return slices.Contains(v.poisoned, slot) || !v.asWanted(slot)
}

// changedSlot reports whether a slot should have a filter that is part of the change, or is
// one of a listener that is. A slot that has another version of its filter lacks only that.
func (v *state) changedSlot(g Goal, slot string) bool {
	of, _, own := resource.SlotOf(slot)
	if !own {
		return g.has(Extension, slot)
	}
	f := v.placements().contents[slot].filter
	if f != nil && g.filter(f.Name) {
		return true
	}
	have, filled := v.subs[Extension].have.Find(slot)
	return g.listener(of) && !(f != nil && filled && v.holds(have) == f.Name)
}

func (v *state) lacksChangedListener(g Goal) bool {
	s := &v.subs[Listener]
	if !s.subscribed {
		return false
	}
	return slices.ContainsFunc(v.obsolete(Listener), g.listener) || slices.ContainsFunc(v.snap.Listeners, func(l *resource.Listener) bool {
		return v.wants(Listener, l.Name) && v.lacksChangedIn(g, l)
	})
}

// lacksChangedIn reports whether the Envoy lacks a listener that is part of the change, or
// has it without one of its filters that must not be missing, or has any listener without a
// filter that is part of the change. A listener that it does not have at all, or that warms,
// lacks all of its filters.
func (v *state) lacksChangedIn(g Goal, l *resource.Listener) bool {
	changed, filters := g.listener(l.Name), slices.Concat(l.Filters, l.Loggers)
	named := func(slot string) bool { return !isOwn(slot) && g.has(Extension, slot) }
	if !changed && !slices.ContainsFunc(filters, g.filter) && !slices.ContainsFunc(l.Slots, named) && !slices.ContainsFunc(l.Static, named) {
		return false
	}
	have, had := v.subs[Listener].have.Find(l.Name)
	if !had || v.warms(have, v.refusals) || changed && !have.Is(v.wanted(l)) {
		return true
	}
	r := v.placements().byListener[l.Name]
	return slices.ContainsFunc(filters, func(name string) bool {
		f := v.filter(name)
		return (g.filter(name) || changed && f != nil && f.OnFailure != definition.Open) && v.lacksIn(r, have, name)
	})
}

// keeps reports whether the Envoy still has something that was taken from it. It may keep
// clusters.
func (m *Machine) keeps(g Goal) bool {
	if g.Left == nil {
		return false
	}
	left := func(t Type, it item) bool { return isOf(g.Left, t, it) && !isOf(g.To, t, it) }
	for _, it := range m.subs[Extension].have.Items {
		if !isTwin(it.Name) && left(Extension, it) {
			return true
		}
	}
	for _, it := range m.subs[Route].have.Items {
		if m.routeInUse(it.Name) && left(Route, it) {
			return true
		}
	}
	return slices.ContainsFunc(m.subs[Listener].have.Items, func(it item) bool { return left(Listener, it) }) ||
		slices.ContainsFunc(m.subs[Cluster].have.Items, func(it item) bool { return named(g.To.Clusters, it.Name) != nil && left(Cluster, it) })
}

// isOf reports whether what an Envoy has is in a snapshot, in this version.
func isOf(s *resource.Snapshot, t Type, it item) bool {
	switch t {
	case Extension:
		version, id := resource.CutVersion(it.Version)
		if f := cmp.Or(s.FilterByID(id), s.Filter(it.Name)); f != nil {
			return f.Version == version
		}
	case Listener:
		l := listenerIn(s, it.Name)
		return l != nil && l.Is(it.Version) && !slices.ContainsFunc(l.Loggers, func(name string) bool {
			f := s.Filter(name)
			return f != nil && f.LoggerIn(it.Version) != f.Version
		})
	case Route:
		if of, _, own := resource.RoutesOf(it.Name); own {
			l := listenerIn(s, of)
			version, _ := resource.CutMentions(it.Version)
			return l != nil && l.RoutesBase == version
		}
	}
	r := named(resourcesIn(s, t), it.Name)
	return r != nil && r.Version == it.Version
}
