package rollout

import (
	"maps"
	"reflect"
	"slices"

	"wasmxds/definition"
	"wasmxds/module"
)

func (e Wanted) apply(m *Machine) {
	if m.read(e.Set) {
		m.reconsider()
		m.reconcile()
	}
}

// read processes the desired state. It returns false if that can't be used.
func (m *Machine) read(whole *module.Set) bool {
	s, err := setOf(m.wanted, whole)
	if err != nil {
		m.tell(nil, "the definitions can't be applied: %v", err)
		return false
	}
	m.wanted = s
	m.changed()
	return true
}

// changed records that the sets of choices have changed.
func (m *Machine) changed() {
	m.replan, m.baseWhole, m.tolerated = true, nil, nil
	clear(m.combinations)
}

// effective returns the desired state except for what was rolled back.
func (m *Machine) effective() items {
	if len(m.held) == 0 {
		return m.wanted.items
	}
	out := maps.Clone(m.wanted.items)
	for key, h := range m.held {
		i := out[key]
		switch {
		case i != nil && !i.Ready: // its module is lost, which is no new content
		case hashIn(i) == hashIn(h.To):
			m.release(key, "the files agree again")
			continue
		case hashIn(i) != h.Files:
			m.release(key, "the files say something new")
			continue
		}
		if h.To == nil {
			delete(out, key)
		} else {
			out[key] = h.To
		}
	}
	return out
}

func (m *Machine) release(key Key, why string) {
	h := m.held[key]
	delete(m.held, key)
	m.keepHeld(key, nil)
	m.drop(h.To)
	m.tell(nil, "%s follows the definitions again: %s", key.Name, why)
}

// reconcile creates changes for the differences between the desired state and the base.
func (m *Machine) reconcile() {
	want := m.effective()
	if !m.begun {
		m.adoptAll(want)
		return
	}
	rest := m.differences(want)
	at := m.supersede(rest)
	var adopted, opened []diff
	for _, key := range slices.SortedFunc(maps.Keys(rest), compareKeys) {
		d := rest[key]
		if m.adopt[key] || d.From != nil && !d.From.Ready {
			adopted = append(adopted, d)
			continue
		}
		opened = append(opened, d)
	}
	if len(adopted) > 0 {
		// Nobody runs the former content, so it is no use to roll back to.
		c := m.begin(adopted, len(m.open), false)
		c.Policy, c.heldBy = nil, ""
	}
	clear(m.adopt)
	if len(opened) > 0 {
		m.begin(opened, at, false)
	}
	m.recombine()
}

// adoptAll makes the desired state the first base.
func (m *Machine) adoptAll(want items) {
	m.begun, m.base = true, maps.Clone(want)
	for _, i := range m.base {
		m.keepBase(i.Key, i)
		m.use(i)
	}
	m.keepBegun()
	m.changed()
	m.ready.Ahead = true
	m.tell(nil, "the first base has %s", number(len(want), "definition", "definitions"))
}

// differences returns the differences between the desired state and the base. It replaces
// items of the base that mean the same, since their position in the files may have changed.
func (m *Machine) differences(want items) map[Key]diff {
	out := map[Key]diff{}
	m.altered = len(m.held) > 0
	covered := map[Key]*Item{}
	for _, c := range m.open {
		for _, d := range c.Diffs {
			covered[d.Key] = d.To
		}
	}
	for key, to := range want {
		from := m.base[key]
		if open := covered[key]; !to.Ready && open != nil && open.Ready {
			to, m.altered = open, true // its module is lost, which is no new content
		} else if !to.Ready && from != nil && from.Ready {
			m.altered = true
			continue
		}
		switch {
		case from == nil || from.Hash != to.Hash:
			out[key] = diff{key, from, to}
		case from != to:
			m.base[key] = to
		}
	}
	for key, from := range m.base {
		if want[key] == nil {
			out[key] = diff{key, from, nil}
		}
	}
	return out
}

// supersede ends the open changes that are not wanted in this form, and removes those that
// are from rest. It returns the place of the first one that it ended, or the last place.
// (Invariant 8.)
func (m *Machine) supersede(rest map[Key]diff) (at int) {
	at = len(m.open)
	for _, c := range slices.Clone(m.open) {
		wanted := true
		fresh := slices.Clone(c.Diffs)
		for i, d := range c.Diffs {
			r, is := rest[d.Key]
			wanted = wanted && is && hashIn(r.From) == hashIn(d.From) && hashIn(r.To) == hashIn(d.To)
			fresh[i] = r
		}
		if !wanted {
			at = min(at, slices.Index(m.open, c))
			m.end(c, Superseded)
			m.tell(c, "the definitions have changed again")
			continue
		}
		c.Diffs = fresh
		for _, d := range c.Diffs {
			delete(rest, d.Key)
		}
	}
	return min(at, len(m.open))
}

// begin opens a change at a place among the others.
func (m *Machine) begin(diffs []diff, at int, promoted bool) *change {
	c := &change{ID: idOf(diffs), Diffs: diffs, nodes: nodesOf(diffs), Opened: m.now, State: Rolling, Promoted: promoted}
	c.Policy, c.heldBy = m.policyOf(c)
	m.open = slices.Insert(m.open, at, c)
	for _, d := range diffs {
		m.use(d.From)
		m.use(d.To)
	}
	m.keepOpen()
	m.again = true
	return c
}

// policyOf returns the policy of a change as it is now; nil: there is none. heldBy is the
// unreadable Rollout that may apply to it instead; "": there is none.
func (m *Machine) policyOf(c *change) (p *definition.Rollout, heldBy string) {
	all := names(c.Diffs)
	whole := m.wanted.whole
	p = definition.PolicyOf(whole.Rollouts, all)
	if h := definition.HeldBy(whole.RolloutHoles, p, all); h != nil {
		heldBy = h.Cause.Error()
	}
	return p, heldBy
}

// govern lets a change that no Envoy has go by its policy as it is now. If there is none any
// more, it keeps the one that it has: whoever removes a policy does not mean to let changes
// loose that wait for it.
func (m *Machine) govern(c *change) {
	p, heldBy := m.policyOf(c)
	if p == nil && heldBy == "" && c.heldBy == "" {
		p = c.Policy
	}
	if heldBy == c.heldBy && samePolicy(p, c.Policy) {
		return
	}
	if c.Policy != nil && p != nil && !samePolicy(p, c.Policy) {
		m.tell(c, "it goes by policy %s as it is now", p.Name)
	}
	m.unprepare(c)
	c.Policy, c.heldBy, c.waitsFor = p, heldBy, nil
	m.keep(c)
	m.again = true
}

// samePolicy reports whether two policies say the same, wherever they are written.
func samePolicy(a, b *definition.Rollout) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Pos, y.Pos = definition.Position{}, definition.Position{}
	return reflect.DeepEqual(x, y)
}

// reconsider determines the policies of changes that no Envoy has yet. The policy of a
// change does not change once it has begun.
func (m *Machine) reconsider() {
	for _, c := range m.open {
		if c.Wave == 0 && (c.growth == nil || !c.growth.writing) {
			m.govern(c)
		}
	}
}

// end removes a change from the open ones. Envoys that have it get back what was before.
func (m *Machine) end(c *change, as State) {
	m.stopWatching(c)
	had := c.reaches()
	m.open = slices.DeleteFunc(m.open, func(o *change) bool { return o == c })
	c.State, c.Ended = as, m.now
	if had {
		m.unsettle(c)
	}
	m.keepOpen()
	m.keep(c)
	if had {
		m.changed()
	}
	clear(m.combinations)
	m.again = true
	if as == Superseded {
		for _, d := range c.Diffs {
			m.drop(d.From)
			m.drop(d.To)
		}
		m.ended = slices.Insert(m.ended, 0, c)
		m.ended = m.ended[:min(len(m.ended), mostDone)]
	}
}

// mostDone is how many changes that joined the base are kept, to roll back to.
const mostDone = 20

// join makes a change part of the base.
func (m *Machine) join(c *change) {
	if len(c.Waves) > 0 {
		c.Waves[len(c.Waves)-1].Ended = m.now
	}
	m.end(c, Done)
	for _, d := range c.Diffs {
		m.drop(m.base[d.Key])
		if d.To == nil {
			delete(m.base, d.Key)
		} else {
			m.base[d.Key] = d.To
			m.use(d.To)
		}
		m.keepBase(d.Key, d.To)
	}
	m.done = slices.Insert(m.done, 0, c) // its items remain in use
	m.keepDone(c)
	for len(m.done) > mostDone {
		last := m.done[len(m.done)-1]
		m.done = m.done[:len(m.done)-1]
		m.forgetDone(last)
		for _, d := range last.Diffs {
			m.drop(d.From)
			m.drop(d.To)
		}
	}
	m.changed()
	m.recombine()
	m.ready.Ahead = m.ready.Ahead || c.Policy == nil
	if c.Policy != nil {
		m.tell(c, "it is on all Envoys, %s after it was opened", span(m.now.Sub(c.Opened)))
	} else {
		m.tell(c, "no policy matches: all Envoys get it at once")
	}
}
