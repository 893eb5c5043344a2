package swap

import (
	"strings"
	"time"

	"slices"

	"wasmxds/definition"
	"wasmxds/resource"
)

// nextExtensions fills the slots with what is primed, all in one response.
// What Envoy may refuse comes when nothing waits that a NACK would end the wait
// of: other extensions, which may be what a listener waits for itself, and then
// filters to prime.
func (m *Machine) nextExtensions(now time.Time) *Response {
	s := &m.subs[Extension]
	if s.names == nil || !m.clustersSettled(now) {
		return nil
	}
	if changed := m.slots(now); len(changed) > 0 {
		return m.space.step(s.have, Extension, m.delta, changed, nil)
	}
	waits := m.waits(now)
	if m.subs[Listener].flight != nil || waits == forFilter {
		return nil
	}
	if it, ok := m.nextWritten(now, waits); ok {
		return m.space.step(s.have, Extension, m.delta, []item{it}, nil)
	}
	if waits != forNothing {
		return nil
	}
	if m.soiled(now) {
		return m.space.step(s.have, Extension, m.delta, m.clean(), nil)
	}
	if twins := m.nextTwins(now); len(twins) > 0 {
		return m.space.step(s.have, Extension, m.delta, twins, nil)
	}
	return nil
}

// slots are the contents that serving slots are to get now. One that was
// NACKed goes alone.
func (m *Machine) slots(now time.Time) []item {
	var changed []item
	for _, name := range m.behind() {
		it, ok := m.slotItem(name, now)
		if !ok || it.written || m.held(Extension, name, it.version, now) {
			continue
		}
		if have, ok := m.subs[Extension].have.find(name); ok && have.is(it) && !slices.Contains(m.dirty, name) {
			continue
		}
		if slices.Contains(m.dirty, name) {
			return []item{it}
		}
		changed = append(changed, it)
	}
	return changed
}

func (m *Machine) slotItem(name string, now time.Time) (item, bool) {
	f := m.filter(name)
	if f == nil {
		if it, ok := m.lookup(Extension, name); ok {
			return it, true
		}
		return m.leftItem(name)
	}
	if m.point(f) == name {
		return item{}, false // primed in place
	}
	return m.slotContent(f, now)
}

// leftItem is for the slot of a filter that is gone, which a listener that is
// still there waits for: what was meant for it when that listener was sent.
func (m *Machine) leftItem(name string) (item, bool) {
	if _, filled := m.subs[Extension].have.find(name); filled {
		return item{}, false
	}
	if twin, ok := m.subs[Extension].have.find(resource.TwinPrefix + name); ok && twin.filter != nil {
		return filterItem(twin.filter, name, 0), true
	}
	i := slices.IndexFunc(m.passes, func(it item) bool { return it.name == name })
	if i < 0 {
		return item{}, false
	}
	return m.passes[i], true
}

// slotContent is what the serving slot of f may have now: what is primed, and
// what does nothing where an open filter can't be. False: nothing new.
func (m *Machine) slotContent(f *resource.Filter, now time.Time) (item, bool) {
	s := &m.subs[Extension]
	tr := m.try(Extension, f.Name)
	_, filled := s.have.find(f.Name)
	twin, ok := s.have.find(f.TwinName)
	if ok && twin.filter != nil && (twin.version == f.Version || !filled || tr != nil && tr.nacks > 0) {
		attempt := 0
		if slices.Contains(m.dirty, f.Name) && tr != nil {
			attempt = tr.attempt
		}
		return filterItem(twin.filter, f.Name, attempt), true
	}
	if !filled && f.OnFailure == definition.Open && f.Pass() != nil && (m.givenUp(f, now) || m.wants(Extension, f.Name) || m.inUse(f.Name)) {
		return plain(f.Pass()), true
	}
	return item{}, false
}

// nextTwins are the next filters to prime. One whose module this Envoy has to
// fetch goes alone in its response, so that a NACK says which it is. Those
// whose modules it has, because only their configuration changed or because
// their downloads have ended, go together: they are ACKed, and if they are not,
// each goes again, alone.
func (m *Machine) nextTwins(now time.Time) []item {
	var together []item
	for _, f := range m.unprimed() {
		at := m.point(f)
		if f.Missing != "" || !m.wants(Extension, at) {
			continue
		}
		tr := m.try(Extension, f.Name)
		if tr == nil || now.Before(tr.due) || m.fetchedForAnother(tr, now) {
			continue
		}
		alone := tr.alone || !tr.here && !m.cached(f)
		if alone && len(together) > 0 {
			continue
		}
		tr.pushed, tr.fetched = true, false
		together = append(together, filterItem(f, at, tr.attempt))
		if alone {
			return together
		}
	}
	return together
}

// cached tells whether this Envoy has the filter's module: another version or
// another filter runs on it.
func (m *Machine) cached(f *resource.Filter) bool {
	return f.SHA256 != "" && slices.ContainsFunc(m.subs[Extension].have.items, func(it item) bool {
		return it.filter != nil && it.filter.SHA256 == f.SHA256
	})
}

// fetchedForAnother tells whether Envoy is fetching tr's module for another
// filter: a push now would make it fetch again.
func (m *Machine) fetchedForAnother(tr *try, now time.Time) bool {
	return tr.sha256 != "" && slices.ContainsFunc(m.tries, func(o *try) bool {
		return o != tr && o.typ == Extension && o.sha256 == tr.sha256 && o.pushed && now.Before(o.due) && !o.refused
	})
}

// clean replaces refused contents of twins by ones that Envoy takes at once:
// what the twin had before, in other bytes, or what does nothing.
func (m *Machine) clean() []item {
	m.heals++
	var changed []item
	for _, name := range m.dirty {
		if !m.inPrimer(name) {
			continue
		}
		if have, ok := m.subs[Extension].have.find(name); ok && have.filter != nil {
			have.res = have.filter.Twin(m.salt + m.heals)
			changed = append(changed, have)
		} else {
			changed = append(changed, plain(m.filter(strings.TrimPrefix(name, resource.TwinPrefix)).TwinPass()))
		}
	}
	slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return changed
}
