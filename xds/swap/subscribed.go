package swap

import (
	"slices"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// Asked returns the names of a type to which a state-of-the-world Envoy last subscribed,
// possibly followed by the one that it is likely to add next. They are shared; the caller
// must not change them.
func (m *Machine) Asked(t Type) (names []string, ok bool) {
	s := &m.subs[t]
	if s.names != nil {
		names = s.names.Ahead()
	}
	return names, s.subscribed
}

// Subscribed returns the number of names of a type that the Envoy subscribes to.
func (m *Machine) Subscribed(t Type) int {
	if n := m.subs[t].names; n != nil {
		return len(n.Sorted)
	}
	return 0
}

// subscribe updates the names that the Envoy subscribes to.
func (m *Machine) subscribe(r Request, first bool) {
	s := &m.subs[r.Type]
	wildcard := s.wildcard
	if m.delta {
		if first && len(r.Subscribe) == 0 || slices.Contains(r.Subscribe, "*") {
			s.wildcard = true
		}
		if slices.Contains(r.Unsubscribe, "*") {
			s.wildcard = false
		}
		if len(r.Subscribe) == 0 && len(r.Unsubscribe) == 0 && !first {
			return
		}
		if !first {
			m.forget(r.Type, r.Subscribe) // it subscribes because it does not have them
		}
	} else {
		if s.names != nil && slices.Equal(s.names.Raw, r.Names) && (r.Type != Endpoint || s.flight != nil) {
			return // an ACK usually changes nothing
		}
		if first && len(r.Names) == 0 {
			s.wildcard = true
		}
		if len(r.Names) > 0 {
			s.wildcard = slices.Contains(r.Names, "*")
		}
	}
	before, subscribe := s.names, r.Names
	if m.delta {
		subscribe = r.Subscribe
	}
	names, more := m.interner.Ask(before, m.delta, subscribe, r.Unsubscribe)
	s.names, m.at = names, nil
	switch {
	case before == nil || !slices.Equal(before.Sorted, s.names.Sorted):
		if before == nil || wildcard || !more { // else it has dropped nothing
			m.prune(r.Type)
		}
		m.unmark(r.Type)
	case !m.delta && !first && s.flight == nil && r.Nonce != "" && r.Type == Endpoint:
		// The same names again, with nothing to answer: a cluster that was replaced waits
		// for its endpoints again.
		m.forget(r.Type, s.names.Sorted)
	}
}

// forget removes names from what the Envoy has, so that they are sent again.
func (m *Machine) forget(t Type, names []string) {
	s := &m.subs[t]
	var gone []string
	for _, n := range names {
		if _, ok := s.have.Find(n); ok {
			gone = append(gone, n)
		}
	}
	if len(gone) > 0 {
		m.has(t, m.interner.Acked(t, intern.Merge(s.have.Items, nil, gone)))
	}
}

// prune removes what the Envoy has unsubscribed from, and therefore dropped.
func (m *Machine) prune(t Type) {
	s := &m.subs[t]
	if s.wildcard || s.names == nil || s.have.Answers.named.Load() == s.names {
		return
	}
	var gone []string
	for _, it := range s.have.Items {
		if !m.wants(t, it.Name) {
			gone = append(gone, it.Name)
		}
	}
	m.forget(t, gone)
	s.have.Answers.named.Store(s.names)
	if (t == Extension || t == Route) && !m.delta {
		for _, name := range gone {
			m.lost = append(m.lost, lost{t, name})
		}
	}
	if len(gone) > 0 {
		m.unmark(t)
	}
}

// lost is an extension or route configuration that a reconnecting Envoy lists although it
// does not have it: in the state-of-the-world protocol, what it has dropped since its
// newest ACK, the version of which it repeats; in delta, what arrived after it had
// unsubscribed.
type lost struct {
	typ  Type
	name string
}

// Left is what the next stream of an Envoy must know about the one before. The zero value
// means nothing.
type Left struct {
	lost     []lost
	promises []promise
	crashes  []crash
	alarms   []Crash
}

// Empty reports whether there is nothing to know.
func (l Left) Empty() bool { return len(l.lost)+len(l.promises)+len(l.crashes)+len(l.alarms) == 0 }

// WithoutAlarms returns l without alarms that came while there was no stream.
func (l Left) WithoutAlarms() Left {
	l.alarms = nil
	return l
}

// Left returns what this stream leaves to the next.
func (m *Machine) Left() Left { return Left{m.lost, m.promises, m.crashes, m.alarms} }

// lose records which resources in the ACK of r the Envoy does not have.
func (m *Machine) lose(r *Response) {
	s := &m.subs[r.Type]
	if !m.delta {
		m.lost = slices.DeleteFunc(m.lost, func(l lost) bool { return l.typ == r.Type })
		for _, it := range r.To.Items { // as its version lists
			if s.have != r.To && !s.have.Has(it) {
				m.lost = append(m.lost, lost{r.Type, it.Name})
			}
		}
		m.loseUnused()
		return
	}
	for _, it := range r.Changed {
		m.lost = slices.DeleteFunc(m.lost, func(l lost) bool { return l == lost{r.Type, it.Name} })
		if !m.wants(r.Type, it.Name) {
			m.lost = append(m.lost, lost{r.Type, it.Name})
		}
	}
}

// loseRoutes records that an Envoy has no routes for a listener that is new to it. It may
// have had some for an earlier listener, and list them. If it drops a name and subscribes
// to it again, it need not send anything.
func (m *Machine) loseRoutes(r *Response) {
	for _, l := range r.Changed {
		if _, had := r.From.Find(l.Name); had {
			continue
		}
		name := resource.GateRoute
		if l.Name != resource.PrimerListener {
			p := m.placements().byListener[l.Name]
			if p == nil || p.layout == nil {
				continue
			}
			name = p.layout.Routes
		}
		m.forget(Route, []string{name})
		if l := (lost{Route, name}); !m.delta && !slices.Contains(m.lost, l) {
			m.lost = append(m.lost, l)
		}
	}
}

// loseUnused records, in state of the world, what the Envoy is about to drop because none
// of its listeners has a slot for it. It may subscribe to it again, without its content,
// before it has unsubscribed. But when it ACKs a listener that has such a slot again and has
// not unsubscribed before that, the listener keeps the content.
func (m *Machine) loseUnused() {
	s := &m.subs[Listener]
	if m.delta || !s.subscribed || slices.ContainsFunc(s.have.Items, func(l item) bool { return l.Res == nil }) {
		return
	}
	m.lost = slices.DeleteFunc(m.lost, func(l lost) bool {
		_, kept := m.subs[l.typ].have.Find(l.name)
		return l.typ == Extension && kept && m.inUse(l.name)
	})
	for _, name := range m.unused() {
		if l := (lost{Extension, name}); !slices.Contains(m.lost, l) {
			m.lost = append(m.lost, l)
		}
	}
}

// unused returns the contents that no listener of the Envoy has a slot for.
func (v *state) unused() []string {
	return v.standing().unused.get(func() []string {
		var names []string
		for _, it := range v.subs[Extension].have.Items {
			if !v.inUse(it.Name) {
				names = append(names, it.Name)
			}
		}
		return names
	})
}

// unmark removes what was recorded about names that the Envoy no longer subscribes to.
func (m *Machine) unmark(t Type) {
	if t != Extension || m.subs[t].wildcard {
		return
	}
	if len(m.refusals)+len(m.poisoned) > 0 { // otherwise nothing unprimed is primed now
		m.tracked = tracked{}
	}
	m.forgetWritten()
	m.poisoned = slices.DeleteFunc(m.poisoned, func(n string) bool { return !m.wants(t, n) })
	m.forgetUnknown(func(n string) bool { return !m.wants(t, n) })
	m.stamps = slices.DeleteFunc(m.stamps, func(st stamp) bool {
		return !m.wants(t, st.name) && len(m.placements().holders[st.name]) == 0 && !m.snap.IsLogger(st.name)
	})
}

// wants reports whether the Envoy subscribes to this resource.
func (v *state) wants(t Type, name string) bool {
	s := &v.subs[t]
	return s.wildcard || s.names.Has(name)
}
