package rollout

import (
	"errors"
	"fmt"
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
	id := ""
	if e.ID != "" || len(m.open) == 0 {
		id = m.heldBy(e.ID)
	}
	if id != "" && (e.Verb == Resume || e.Verb == Promote) {
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
		m.pause(c, ByHand, by)
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
		m.stop(c, ByHand, by)
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
