package rollout

import (
	"time"

	"wasmxds/textdiff"
)

// Status is what people are told of all changes: the JSON of the API.
type Status struct {
	Changes []ChangeStatus `json:"changes"` // the newest first: open ones, and those that have ended
	Bases   []BaseStatus   `json:"bases"`   // what can be gone back to, the newest first: the first is in force
	Held    []HeldStatus   `json:"held"`    // definitions of which something else is in force than the files say
	// Stalled says why no wave begins, of any change; "": nothing keeps them.
	Stalled string `json:"stalled,omitempty"`
}

// State is how far a change is.
type State string

const (
	Waiting    State = "waiting"    // for something outside of it, which its Words name; no Envoy has it
	Rolling    State = "rolling"    // from wave to wave
	Paused     State = "paused"     // who has it keeps it, and no more get it
	Stopped    State = "stopped"    // nobody has it, though the files say it
	Done       State = "done"       // everybody has it
	Superseded State = "superseded" // the definitions have changed again; nobody has it
)

// Open says whether the change can still be told anything.
func (s State) Open() bool { return s == Waiting || s == Rolling || s == Paused || s == Stopped }

// ChangeStatus is a change.
type ChangeStatus struct {
	ID          string             `json:"id"`
	Title       string             `json:"title"` // "hello, web": what it changes
	State       State              `json:"state"`
	Words       string             `json:"words"`            // a sentence: how far it is, and why no further
	Reason      string             `json:"reason,omitempty"` // why it is paused or stopped: "hello crashed 3 times on edge-17"
	Definitions []DefinitionStatus `json:"definitions"`
	Policy      string             `json:"policy,omitempty"` // name of its Rollout; "": it has none, and went everywhere at once
	Opened      time.Time          `json:"opened"`
	Ended       time.Time          `json:"ended,omitzero"`

	Wave      int          `json:"wave"`      // from 1; 0: none has begun
	Waves     []WaveStatus `json:"waves"`     // all, also those to come
	Concerned int          `json:"concerned"` // connected Envoys that it is for
	Reached   int          `json:"reached"`   // of them, that are to have it
	Settled   int          `json:"settled"`   // of them, that run it

	Cohorts *CohortsStatus  `json:"cohorts,omitempty"`
	Judges  []VerdictStatus `json:"judges"` // what was said last, of the wave it is in
	Curves  *Curves         `json:"curves,omitempty"`
}

// DefinitionStatus is one of the definitions of a change.
type DefinitionStatus struct {
	Kind string          `json:"kind"`           // "filter", "listener", or a type URL
	Name string          `json:"name"`           //
	What string          `json:"what"`           // "added", "changed" or "removed"
	From string          `json:"from,omitempty"` // eight hex digits that stand for what it was
	To   string          `json:"to,omitempty"`   // and for what it is
	Diff []textdiff.Line `json:"diff,omitempty"` // of their texts; left out where there are many
}

// WaveStatus is a wave of a change.
type WaveStatus struct {
	Name   string    `json:"name"`   // "tier=canary", "1 Envoy", "5 %"
	Envoys int       `json:"envoys"` // that it reached, with those before it; 0: it is yet to come
	Began  time.Time `json:"began,omitzero"`
	Good   time.Time `json:"good,omitzero"` // since when all of it run the change
	Ended  time.Time `json:"ended,omitzero"`
}

// CohortsStatus are the Envoys that are compared, a hundred of each at most.
type CohortsStatus struct {
	New     []string `json:"new"`
	Control []string `json:"control"`
}

// VerdictStatus is what a judge said last.
type VerdictStatus struct {
	Judge   string  `json:"judge"` // "signals", "prometheus 1", "webhook 2"
	Verdict Verdict `json:"verdict"`
	Words   string  `json:"words,omitempty"`
}

// Curves are what the cohorts have told over time.
type Curves struct {
	Step    time.Duration `json:"step"` // between two points, in nanoseconds
	From    time.Time     `json:"from"`
	Began   time.Time     `json:"began,omitzero"` // when the new cohort got the change
	New     []Point       `json:"new"`
	Control []Point       `json:"control"`
}

// Point is what a cohort told in one Step.
type Point struct {
	Requests float64 `json:"requests"`           // answered
	Errors   float64 `json:"errors"`             // of them, by a 5xx
	Median   float64 `json:"median,omitempty"`   // of how long they took, in seconds
	Slow     float64 `json:"slow,omitempty"`     // the percentile of the policy, in seconds
	Crashes  int     `json:"crashes,omitempty"`  // of VMs
	Restarts int     `json:"restarts,omitempty"` // of Envoys
}

// BaseStatus is what was in force from At on.
type BaseStatus struct {
	ID    string    `json:"id"` // of the change that made it
	Title string    `json:"title"`
	At    time.Time `json:"at,omitzero"`
}

// HeldStatus is a definition of which something else is in force than the files
// say, since a change was rolled back. It ends when the files say the same, or
// anything new.
type HeldStatus struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	Files string    `json:"files,omitempty"` // eight hex digits that stand for what the files say; "": that it is not there
	Force string    `json:"force,omitempty"` // and for what is in force
	Since time.Time `json:"since"`
	By    string    `json:"by"` // the change that was rolled back
}
