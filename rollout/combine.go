package rollout

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/module"
)

// combination is the result of combining the changes that reach a node.
type combination struct {
	choice Choice
	set    *module.Set
}

// combined returns the choice of a node that these changes have reached: as many of them as
// compile together, the older ones first. (Invariant 6.)
func (m *Machine) combined(at Choice) (Choice, *module.Set) {
	if known, ok := m.combinations[at]; ok {
		return known.choice, known.set
	}
	var all []*change
	for _, id := range at.IDs() {
		all = append(all, m.find(id))
	}
	if m.broken(all) != "" {
		var fit []*change
		for _, c := range all {
			if with := append(slices.Clone(fit), c); m.broken(with) == "" {
				fit = with
			}
		}
		all = fit
	}
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	made := combination{choice: choiceOf(ids), set: m.setOf(all)}
	m.combinations[at] = made
	return made.choice, made.set
}

// itemsOf returns the base with changes applied.
func (m *Machine) itemsOf(changes []*change) items {
	out := maps.Clone(m.base)
	for _, c := range changes {
		for _, d := range c.Diffs {
			if d.To == nil {
				delete(out, d.Key)
			} else {
				out[d.Key] = d.To
			}
		}
	}
	return out
}

func (m *Machine) setOf(changes []*change) *module.Set {
	return m.itemsOf(changes).modules(m.wanted.whole)
}

// broken returns an error that the base with changes has, but neither the base nor the
// desired state has; "": none.
func (m *Machine) broken(changes []*change) string {
	if len(changes) == 0 || len(changes) == len(m.open) && !m.altered {
		return "" // together they are the desired state
	}
	return m.wrong(m.itemsOf(changes))
}

// wrong returns an error that definitions have, but neither the base nor the desired state
// has; "": none.
func (m *Machine) wrong(all items) string {
	if m.o.Check == nil {
		return ""
	}
	if m.tolerated == nil {
		m.tolerated = map[string]bool{}
		for _, p := range slices.Concat(m.o.Check(m.baseSet()), m.o.Check(m.wanted.whole)) {
			m.tolerated[p] = true
		}
	}
	for _, p := range m.o.Check(all.modules(m.wanted.whole)) {
		if !m.tolerated[p] {
			return p
		}
	}
	return ""
}

// recombine determines which changes compile with the base, and what the others wait for.
// Changes that only compile together become one change.
func (m *Machine) recombine() {
	clear(m.combinations)
	m.tolerated = nil
	if m.o.Check == nil {
		return
	}
	for m.recombineOnce() {
		clear(m.combinations)
	}
}

// recombineOnce reports whether it has merged changes.
func (m *Machine) recombineOnce() bool {
	var live, free, stuck []*change
	for _, c := range m.open {
		c.needs = ""
		if c.State != Stopped {
			live = append(live, c)
		}
	}
	why := map[*change]string{}
	for _, c := range live {
		if p := m.broken([]*change{c}); p != "" {
			why[c] = p
			stuck = append(stuck, c)
		} else {
			free = append(free, c)
		}
	}
	for _, c := range stuck {
		partner := func(among []*change) *change {
			i := slices.IndexFunc(among, func(o *change) bool { return o != c && m.broken([]*change{o, c}) == "" })
			if i < 0 {
				return nil
			}
			return among[i]
		}
		if o := partner(free); o != nil {
			c.needs = "waits for " + o.ID + " (" + title(o.Diffs) + "), without which: " + why[c]
			continue
		}
		if o := partner(stuck); o != nil {
			m.merge([]*change{o, c})
			return true
		}
		c.needs = "waits for other changes, without which: " + why[c]
	}
	if len(free) == 0 && len(stuck) > 1 && m.broken(stuck) == "" {
		m.merge(stuck)
		return true
	}
	return false
}

// merge makes one change of several. It begins anew in the place of the first.
func (m *Machine) merge(parts []*change) {
	var diffs []diff
	var titles []string
	promoted := false
	at := len(m.open)
	for _, c := range parts {
		diffs = append(diffs, c.Diffs...)
		titles = append(titles, c.ID)
		promoted = promoted || c.Promoted
		at = min(at, slices.Index(m.open, c))
	}
	for _, c := range parts {
		m.end(c, Superseded)
	}
	slices.SortFunc(diffs, func(a, b diff) int { return compareKeys(a.Key, b.Key) })
	c := m.begin(diffs, at, promoted)
	m.tell(c, "%s can only go together, and become one change", strings.Join(titles, " and "))
}
