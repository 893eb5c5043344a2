package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Command is a command that people give about a change.
type Command struct {
	Verb Verb   `json:"verb"`
	ID   string `json:"id"` // of the change, or a prefix of it; "": the only change that qualifies
	// AtOnce makes a rollback reach all Envoys at once, instead of in the waves of its
	// policy.
	AtOnce bool `json:"atOnce,omitempty"`
	// Later also rolls back what joined the base after the change: the base from before it
	// is then in force.
	Later bool   `json:"later,omitempty"`
	By    string `json:"by,omitempty"` // who gives the command
}

// Verb is the action of a command.
type Verb string

const (
	Pause    Verb = "pause"    // Envoys that have the change keep it; no others get it
	Resume   Verb = "resume"   // a paused change continues; a stopped or rolled back one starts again
	Promote  Verb = "promote"  // it goes to all Envoys now, without further waves
	Stop     Verb = "stop"     // Envoys that have it get back what was before, although the desired state differs
	Rollback Verb = "rollback" // the same for a change that is done
)

// Verbs returns all verbs.
func Verbs() []Verb { return []Verb{Pause, Resume, Promote, Stop, Rollback} }

// Reasons why a command can't be executed. Errors that are one of them have a message of
// their own.
var (
	ErrUnknown = errors.New("there is no such change")
	ErrNot     = errors.New("the change is not in the state for that")
)

// refusal is a reason in the words of one command.
type refusal struct {
	why  error
	text string
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Unwrap() error { return r.why }

func refuse(why error, format string, args ...any) error {
	return &refusal{why, fmt.Sprintf(format, args...)}
}

func (e Command) apply(m *Machine) {
	m.ready.Err = m.command(e)
}

// command executes a command.
func (m *Machine) command(e Command) error {
	if m.wanted == nil {
		return refuse(ErrNot, "the definitions have not been read yet: try again")
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
		return refuse(ErrNot, "%s is done, and can only be rolled back", done.ID)
	}
	switch e.Verb {
	case Pause:
		if c.State != Rolling && c.State != Waiting {
			return refuse(ErrNot, "%s is %s: only a change that is waiting or rolling can be paused", c.ID, c.State)
		}
		m.pause(c, ByHand, by)
	case Resume:
		if c.State != Paused && c.State != Stopped {
			return refuse(ErrNot, "%s is %s: only a change that is paused, stopped or rolled back can be resumed", c.ID, c.State)
		}
		m.resume(c)
		m.tell(c, "resumed %s", by)
	case Promote:
		if c.needs != "" {
			return refuse(ErrNot, "%s can't go alone: it %s", c.ID, c.needs)
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

// meant returns the change that a command is for: an open one, or one that is done.
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
		return nil, nil, refuse(ErrUnknown, "several changes are possible: say which of %s", strings.Join(ids, ", "))
	case len(found) == 0 && e.ID == "":
		return nil, nil, refuse(ErrUnknown, "no change is in progress")
	case len(found) == 0:
		return nil, nil, refuse(ErrUnknown, "no change in progress or to roll back to has the ID %q", e.ID)
	case found[0].State == Done:
		return nil, found[0], nil
	}
	return found[0], nil, nil
}
