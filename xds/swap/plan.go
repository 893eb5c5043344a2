package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// next is what to send of type t, nil if nothing.
func (m *Machine) next(t Type, now time.Time) *Response {
	if m.complete(t) {
		return nil
	}
	switch t {
	case Cluster:
		return m.nextClusters(now)
	case Listener:
		return m.nextListeners(now)
	case Extension:
		return m.nextExtensions(now)
	default:
		return m.nextNamed(t, now)
	}
}

// lookup finds what the snapshot wants for a name.
func (m *Machine) lookup(t Type, name string) (item, bool) {
	var list []*resource.Resource
	switch t {
	case Cluster:
		list = m.snap.Clusters
	case Endpoint:
		list = m.snap.Endpoints
	case Secret:
		list = m.snap.Secrets
	case Route:
		if m.snap.Gate != nil && name == m.snap.Gate.Name {
			return plain(m.snap.Gate), true
		}
		list = m.snap.Routes
	case Listener:
		if m.snap.Primer != nil && name == resource.PrimerListener {
			return listenerItem(m.snap.Primer), true
		}
		i, ok := slices.BinarySearchFunc(m.snap.Listeners, name, func(l *resource.Listener, n string) int { return strings.Compare(l.Name, n) })
		if !ok {
			return item{}, false
		}
		return listenerItem(m.snap.Listeners[i]), true
	case Extension:
		if f := m.filter(strings.TrimPrefix(name, resource.TwinPrefix)); f != nil {
			if f.Missing != "" {
				return item{name: name, filter: f}, true
			}
			return filterItem(f, name, 0), true
		}
		list = m.snap.Static
	}
	i, ok := slices.BinarySearchFunc(list, name, func(r *resource.Resource, n string) int { return strings.Compare(r.Name, n) })
	if !ok {
		return item{}, false
	}
	it := plain(list[i])
	it.written = t == Extension
	return it, true
}

// filterItem is the content of f's slot, or of its twin, at an attempt.
func filterItem(f *resource.Filter, name string, attempt int) item {
	res := f.Slot(attempt)
	if isTwin(name) {
		res = f.Twin(attempt)
	}
	return item{name: name, version: f.Version, res: res, filter: f}
}

func plain(r *resource.Resource) item {
	return item{name: r.Name, version: base(r.Version), res: r}
}

func listenerItem(l *resource.Listener) item {
	it := plain(l.Resource)
	it.slots, it.static = l.Slots, l.Static
	return it
}

// listener is what listenerItem was made of.
func (i item) listener() *resource.Listener {
	return &resource.Listener{Resource: i.res, Slots: i.slots, Static: i.static}
}

// filter finds a filter of the snapshot by its name.
func (m *Machine) filter(name string) *resource.Filter {
	i, ok := slices.BinarySearchFunc(m.snap.Filters, name, func(f *resource.Filter, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return nil
	}
	return m.snap.Filters[i]
}

// nextClusters sends new and changed clusters at once, and drops those that
// are gone only when no listener can name them any more.
func (m *Machine) nextClusters(now time.Time) *Response {
	s := &m.subs[Cluster]
	var changed []item
	for _, c := range m.snap.Clusters {
		it := plain(c)
		if have, ok := s.have.find(it.name); m.wants(Cluster, it.name) && !(ok && have.is(it)) && !m.held(Cluster, it.name, it.version, now) {
			changed = append(changed, it)
		}
	}
	var gone []string
	if m.listenersSettled(now) {
		gone = m.obsolete(Cluster)
	} else if !m.delta && len(changed) > 0 {
		// Bytes that are not known can't be kept in a response that is whole.
		gone = missingBytes(s.have.items, changed)
	}
	return m.respond(Cluster, changed, gone)
}

// obsolete are the names that Envoy has and the snapshot has not.
func (m *Machine) obsolete(t Type) []string {
	var gone []string
	for _, it := range m.subs[t].have.items {
		if _, ok := m.lookup(t, it.name); !ok {
			gone = append(gone, it.name)
		}
	}
	return gone
}

func missingBytes(have, changed []item) []string {
	var gone []string
	for _, it := range have {
		if it.res == nil && !slices.ContainsFunc(changed, func(c item) bool { return c.name == it.name }) {
			gone = append(gone, it.name)
		}
	}
	return gone
}

// respond makes the response, nil where there is nothing to say. A fresh
// Envoy is answered even when there is nothing for it: it waits.
func (m *Machine) respond(t Type, changed []item, gone []string) *Response {
	s := &m.subs[t]
	if len(changed) == 0 && len(gone) == 0 && !(t.wholeState() && s.nonce == 0 && len(s.have.items) == 0 && len(m.tries) == 0) {
		return nil
	}
	return m.space.step(s.have, t, m.delta, changed, gone)
}

// nextNamed answers endpoints, secrets and routes as they are subscribed to.
func (m *Machine) nextNamed(t Type, now time.Time) *Response {
	s := &m.subs[t]
	var changed []item
	add := func(it item) {
		if have, ok := s.have.find(it.name); ok && have.is(it) || m.held(t, it.name, it.version, now) {
			return
		}
		if t == Route && it.name == resource.GateRoute && !m.gateOpens(now) {
			return
		}
		changed = append(changed, it)
	}
	if s.names != nil {
		for _, n := range s.names.sorted {
			if it, ok := m.lookup(t, n); ok {
				add(it)
			}
		}
	}
	if s.wildcard {
		for _, r := range m.all(t) {
			if s.names == nil || !slices.Contains(s.names.sorted, r.Name) {
				add(plain(r))
			}
		}
		slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.name, b.name) })
	}
	if len(changed) == 0 {
		return nil
	}
	return m.space.step(s.have, t, m.delta, changed, nil)
}

func (m *Machine) all(t Type) []*resource.Resource {
	switch t {
	case Endpoint:
		return m.snap.Endpoints
	case Secret:
		return m.snap.Secrets
	case Route:
		return m.snap.Routes
	}
	return nil
}

// clustersSettled tells whether all clusters that can be had are in place, so
// that listeners and filters may name them.
func (m *Machine) clustersSettled(now time.Time) bool {
	s := &m.subs[Cluster]
	if !s.subscribed {
		return true
	}
	if s.flight != nil {
		return false
	}
	if m.complete(Cluster) {
		return true
	}
	for _, c := range m.snap.Clusters {
		it := plain(c)
		if have, ok := s.have.find(it.name); m.wants(Cluster, it.name) && !(ok && have.is(it)) && !m.held(Cluster, it.name, it.version, now) {
			return false
		}
	}
	return true
}
