package rollout

import (
	"errors"
	"fmt"
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
