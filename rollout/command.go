package rollout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Command is what people tell a change.
type Command struct {
	Verb Verb   `json:"verb"`
	ID   string `json:"id"` // of the change, or its beginning; "": the only one that it may be meant for
	// AtOnce has a rollback go everywhere at once; else it goes in the waves of
	// its policy.
	AtOnce bool `json:"atOnce,omitempty"`
	// Later has what joined the base after that change rolled back with it: what
	// is in force is then the base from before.
	Later bool   `json:"later,omitempty"`
	By    string `json:"by,omitempty"` // who says it
}

// Verb says what a change is to do.
type Verb string

const (
	Pause    Verb = "pause"    // who has it keeps it, no more get it
	Resume   Verb = "resume"   // what is paused goes on; what was stopped, or rolled back, begins again
	Promote  Verb = "promote"  // it goes everywhere now, past its waves
	Stop     Verb = "stop"     // who has it gets what was before; what the files say is not followed
	Rollback Verb = "rollback" // the same of one that is done
)

// Verbs are all of them.
func Verbs() []Verb { return []Verb{Pause, Resume, Promote, Stop, Rollback} }

// Why a command can't be done. Each comes wrapped in words.
var (
	ErrUnknown = errors.New("there is no such change")
	ErrNot     = errors.New("the change is not in the state for that")
)

func refuse(why error, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), why)
}

func (e Command) apply(m *Machine) {
	m.ready.Err = m.command(e)
}

// command does what people say.
func (m *Machine) command(e Command) error {
	if m.wanted == nil {
		return refuse(ErrNot, "the files have not been read yet")
	}
	by := "by hand"
	if e.By != "" {
		by = "by " + e.By
	}
	if id := m.heldBy(e.ID); id != "" && (e.Verb == Resume || e.Verb == Promote) {
		m.releaseAll(id, by)
		m.reconcile()
		m.promoteFresh(e.Verb == Promote)
		return nil
	}
	c, done, err := m.meant(e)
	switch {
	case err != nil:
		return err
	case done != nil && e.Verb == Rollback:
		return m.rollBack(done, e)
	case done != nil:
		return refuse(ErrNot, "%s has joined the base; it can only be rolled back", done.ID)
	}
	switch e.Verb {
	case Pause:
		if c.State != Rolling && c.State != Waiting {
			return refuse(ErrNot, "%s is %s", c.ID, c.State)
		}
		m.pause(c, by)
	case Resume:
		if c.State != Paused && c.State != Stopped {
			return refuse(ErrNot, "%s is %s", c.ID, c.State)
		}
		m.resume(c)
		m.tell(c, "resumed %s", by)
	case Promote:
		if c.needs != "" {
			return refuse(ErrNot, "%s %s", c.ID, c.needs)
		}
		if c.State == Paused || c.State == Stopped {
			m.resume(c)
		}
		c.Promoted, m.again = true, true
		m.keep(c)
		m.tell(c, "promoted %s: it goes everywhere now", by)
	case Stop, Rollback:
		if c.State == Stopped {
			return refuse(ErrNot, "%s is stopped already", c.ID)
		}
		m.stop(c, by)
	default:
		return refuse(ErrNot, "%q is none of %v", e.Verb, Verbs())
	}
	return nil
}

// meant finds the change that a command is for: an open one, or one that is done.
func (m *Machine) meant(e Command) (open, done *change, err error) {
	var found []*change
	among := func(all []*change) []*change {
		return slices.DeleteFunc(slices.Clone(all), func(c *change) bool { return !strings.HasPrefix(c.ID, e.ID) })
	}
	switch {
	case e.ID == "" && len(m.open) > 0:
		found = m.open
	case e.ID == "" && e.Verb == Rollback:
		found = m.done[:min(1, len(m.done))]
	default:
		if found = among(m.open); len(found) == 0 {
			if found = among(m.done); len(found) > 1 && found[0].ID == found[len(found)-1].ID {
				found = found[:1] // it was done more than once
			}
		}
	}
	switch {
	case len(found) > 1:
		var ids []string
		for _, c := range found {
			ids = append(ids, c.ID+" ("+title(c.Diffs)+")")
		}
		return nil, nil, refuse(ErrUnknown, "say which of %s", strings.Join(ids, ", "))
	case len(found) == 0 && e.ID == "":
		return nil, nil, refuse(ErrUnknown, "no change is open")
	case len(found) == 0:
		return nil, nil, refuse(ErrUnknown, "%q", e.ID)
	case found[0].State == Done:
		return nil, found[0], nil
	}
	return found[0], nil, nil
}

// rollBack has the base become what it was before a change, for as long as the
// files say what they say now.
func (m *Machine) rollBack(done *change, e Command) error {
	to := map[Key]*Item{}
	for _, c := range m.done { // the newest first
		if c == done || e.Later {
			for _, d := range c.Diffs {
				to[d.Key] = d.From
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
		return refuse(ErrNot, "what was before %s is in force", done.ID)
	}
	was := m.held
	m.held = next
	if p := m.heldBroken(); p != "" {
		m.held = was
		return refuse(ErrNot, "what was before %s does not go with what is in force beside it: %s", done.ID, p)
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
	m.tell(done, "rolled back: the files are not followed for %s", title(done.Diffs))
	m.changed()
	m.reconcile()
	m.promoteFresh(e.AtOnce)
	return nil
}

// heldBroken says what is wrong with what is wanted, with what is held back, that
// is not wrong with the base or the files.
func (m *Machine) heldBroken() string {
	if m.o.Check == nil {
		return ""
	}
	known := append(m.o.Check(m.baseSet()), m.o.Check(m.wanted.whole)...)
	for _, p := range m.o.Check(m.effective().modules(m.wanted.whole)) {
		if !slices.Contains(known, p) {
			return p
		}
	}
	return ""
}

// heldBy finds a rollback that is in force, by how its id begins; "": there is none.
func (m *Machine) heldBy(id string) string {
	for _, h := range m.held {
		if id != "" && strings.HasPrefix(h.By, id) || id == "" && len(m.open) == 0 {
			return h.By
		}
	}
	return ""
}

func (m *Machine) releaseAll(id, by string) {
	for _, key := range slices.SortedFunc(maps.Keys(m.held), compareKeys) {
		if m.held[key].By == id {
			m.release(key, "the rollback was ended "+by)
		}
	}
	m.changed()
}

// promoteFresh has the changes that this step has opened go everywhere at once.
func (m *Machine) promoteFresh(is bool) {
	for _, c := range m.open {
		if is && c.Opened.Equal(m.now) && c.Wave == 0 {
			c.Promoted, m.again = true, true
			m.keep(c)
		}
	}
}
