package swap

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/resource"
)

// revive requests a push of f, whose VM has crashed, and of filters that may have shared
// the VM.
func (m *Machine) revive(f *resource.Filter, own bool, due time.Time) {
	m.renew(f, own, due)
	m.reviveOthers(due, sharing(f))
}

// sharing returns a function that reports whether a filter may share the VM of f.
func sharing(f *resource.Filter) func(*resource.Filter) bool {
	return func(o *resource.Filter) bool { return o.Name != f.Name && o.SHA256 == f.SHA256 }
}

// reviveOthers requests a push of filters for which meant returns true.
func (m *Machine) reviveOthers(due time.Time, meant func(*resource.Filter) bool) {
	for _, f := range m.serving() {
		if !meant(f) {
			continue
		}
		if c := m.crashOf(f); c.down {
			c.again = c.again || m.replacedBy(m.subs[Extension].flight, c)
		} else {
			m.renew(f, false, due)
		}
	}
}

// renew requests a push of a filter in other bytes. If another version is in flight, the
// alarm may already be from its VM.
func (m *Machine) renew(f *resource.Filter, own bool, due time.Time) {
	c := m.crashOf(f)
	c.down, c.own, c.due, c.attempt = true, own, due, m.nextAttempt(f)
	c.again = m.givesWay(c, m.subs[Extension].flight)
}

// nextAttempt returns an attempt whose bytes none of the filter's slots has.
func (v *state) nextAttempt(f *resource.Filter) int {
	attempt := 0
	if v.known {
		attempt = v.salt
	}
	for _, it := range v.subs[Extension].have.Items {
		if it.Filter == f && !isTwin(it.Name) {
			attempt = max(attempt, attemptOf(it.Res))
		}
	}
	return attempt + 1
}

// attemptOf returns the attempt in a resource's version.
func attemptOf(r *resource.Resource) int {
	if r == nil {
		return 0
	}
	_, text, _ := strings.Cut(r.Version, ".")
	n, _ := strconv.Atoi(text) // without a number, n is 0
	return n
}

// replacing returns the slots that get their content in other bytes (invariants 1 and 5). A
// slot that was NACKed gets it like any other rejected one; the slot of a filter whose twin
// has another version is about to get that.
func (v *state) replacing(now time.Time) []item {
	var changed []item
	for i := range v.crashes {
		c := &v.crashes[i]
		if !c.down || now.Before(c.due) {
			continue
		}
		for _, it := range v.crashed(c) {
			point, ok := v.subs[Extension].have.Find(v.point(it.Filter))
			if again := filterItem(it.Filter, it.Name, c.attempt); ok && point.Filter != nil && point.Version == it.Filter.Version &&
				!slices.Contains(v.poisoned, it.Name) && !v.held(Extension, again, now) {
				changed = append(changed, again)
			}
		}
	}
	slices.SortFunc(changed, func(a, b item) int { return cmp.Compare(a.Name, b.Name) })
	return changed
}

// crashed returns the slots whose VM may be a crashed one.
func (v *state) crashed(c *crash) []item {
	var slots []item
	for _, it := range v.subs[Extension].have.Items {
		if v.isServing(it) && it.Filter.Name == c.filter && it.Filter.Version == c.version && attemptOf(it.Res) < c.attempt {
			slots = append(slots, it)
		}
	}
	return slots
}

// isCrashed reports whether the VM of a slot's content must be replaced.
func (v *state) isCrashed(it item) bool {
	if it.Filter == nil || isTwin(it.Name) {
		return false
	}
	c := v.crash(it.Filter)
	return c != nil && c.down
}

// trackCrashes records what has become of crashed VMs.
func (m *Machine) trackCrashes(now time.Time) {
	if len(m.crashes) == 0 || !m.subs[Extension].subscribed {
		return
	}
	var again []*resource.Filter
	for i := range m.crashes {
		c := &m.crashes[i]
		if !c.down || len(m.crashed(c)) > 0 {
			continue
		}
		c.down = false
		at := slices.IndexFunc(m.serving(), func(f *resource.Filter) bool { return f.Name == c.filter && f.Version == c.version })
		if c.own || at < 0 { // but not if it was only for an alarm for an unknown filter
			c.until = now.Add(m.echo())
		}
		if at < 0 { // it gave way to another version, whose VM may have crashed
			if i := slices.IndexFunc(m.serving(), func(f *resource.Filter) bool { return f.Name == c.filter }); c.again && i >= 0 {
				again = append(again, m.serving()[i])
			}
			continue
		}
		f := m.serving()[at]
		if c.own {
			c.replaced = now
			m.change(ChangeReplaced, f, c.version, c.version)
		}
		if c.again {
			again = append(again, f)
		}
	}
	for _, f := range again {
		m.revive(f, false, now.Add(m.echo()))
	}
	m.crashes = slices.DeleteFunc(m.crashes, func(c crash) bool {
		f := m.filter(c.filter)
		return (f == nil || c.version != f.Version && !c.tooOften()) && !c.down && !now.Before(c.until)
	})
	if len(m.crashes) == 0 {
		m.crashes = nil // so that a large slice is freed
	}
}

// replacedBy reports whether a response replaces the VM.
func (v *state) replacedBy(r *Response, c *crash) bool {
	return r != nil && slices.ContainsFunc(r.Changed, func(it item) bool { return v.isServing(it) && it.Filter.Name == c.filter })
}

// givesWay reports whether a response replaces the crashed version by another one.
func (v *state) givesWay(c *crash, r *Response) bool {
	return r != nil && slices.ContainsFunc(r.Changed, func(it item) bool {
		return v.isServing(it) && it.Filter.Name == c.filter && it.Filter.Version != c.version
	})
}
