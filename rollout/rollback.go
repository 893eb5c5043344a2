package rollout

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// rollBack restores the base from before a change, until the desired state of its
// definitions changes.
func (m *Machine) rollBack(done *change, e Command) error {
	to := map[Key]*Item{}
	for _, c := range m.done { // newest first
		if c == done || e.Later {
			for _, d := range c.Diffs {
				if d.From == nil || d.From.Ready { // otherwise there was nothing to run
					to[d.Key] = d.From
				}
			}
		}
		if c == done {
			break
		}
	}
	next := maps.Clone(m.held)
	if next == nil {
		next = map[Key]held{}
	}
	differs := false
	for key, i := range to {
		differs = differs || hashIn(m.base[key]) != hashIn(i)
		if hashIn(m.wanted.items[key]) == hashIn(i) {
			delete(next, key)
			continue
		}
		next[key] = held{Files: hashIn(m.wanted.items[key]), To: i, Since: m.now, By: done.ID}
	}
	if !differs {
		return refuse(ErrNot, "there is nothing to roll back: what was before %s is in force", done.ID)
	}
	was := m.held
	m.held = next
	if p := m.wrong(m.effective()); p != "" {
		m.held = was
		return refuse(ErrNot, "what was before %s does not go with what is in force beside it (%s): undo the changes since then as well, by --to with the base before it", done.ID, p)
	}
	for key := range to {
		h, is := next[key]
		if is {
			m.use(h.To)
			m.keepHeld(key, &h)
		} else if _, had := was[key]; had {
			m.keepHeld(key, nil)
		}
		if h, had := was[key]; had {
			m.drop(h.To)
		}
	}
	m.tell(done, "rolled back: until they change, the definitions of %s are ignored", title(done.Diffs))
	m.changed()
	m.reconcile()
	m.promoteFresh(e.AtOnce)
	return nil
}

// heldBy returns the newest rollback in force whose ID has a prefix; "": none.
func (m *Machine) heldBy(id string) string {
	var newest held
	for _, h := range m.held {
		if strings.HasPrefix(h.By, id) && (newest.By == "" || cmp.Or(h.Since.Compare(newest.Since), cmp.Compare(h.By, newest.By)) > 0) {
			newest = h
		}
	}
	return newest.By
}

func (m *Machine) releaseAll(id, by string) {
	for _, key := range slices.SortedFunc(maps.Keys(m.held), compareKeys) {
		if m.held[key].By == id {
			m.release(key, "the rollback was ended "+by)
		}
	}
	m.changed()
}

// promoteFresh promotes the changes that this step has opened.
func (m *Machine) promoteFresh(is bool) {
	for _, c := range m.open {
		if is && c.Opened.Equal(m.now) && c.Wave == 0 {
			c.Promoted, m.again = true, true
			m.keep(c)
		}
	}
}
