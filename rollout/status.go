package rollout

import (
	"time"

	"wasmxds/textdiff"
)

// Status describes all changes for people. It is the JSON of the API.
type Status struct {
	Changes []ChangeStatus `json:"changes"` // open ones first, then ended ones, newest first
	Bases   []BaseStatus   `json:"bases"`   // those that can be rolled back to, newest first: the first is in force
	Held    []HeldStatus   `json:"held"`    // definitions that differ in force from the definitions' files
	// Stalled is why no wave of any change begins; "": nothing prevents it.
	Stalled string `json:"stalled,omitempty"`
}

// State is the progress of a change.
type State string

const (
	Waiting    State = "waiting"    // for an external condition, which its Words name; no Envoy has it
	Rolling    State = "rolling"    // from wave to wave
	Paused     State = "paused"     // Envoys that have it keep it; no others get it
	Stopped    State = "stopped"    // no Envoy has it, although it is part of the desired state
	Done       State = "done"       // all Envoys have it
	Superseded State = "superseded" // the definitions have changed again; no Envoy has it
)

// Open reports whether the change accepts commands other than a rollback.
func (s State) Open() bool { return s == Waiting || s == Rolling || s == Paused || s == Stopped }

// ChangeStatus describes a change.
type ChangeStatus struct {
	ID          string             `json:"id"`
	Title       string             `json:"title"` // what it changes: "hello, web"
	State       State              `json:"state"`
	Words       string             `json:"words"`            // a sentence: its progress, and what it waits for
	Reason      string             `json:"reason,omitempty"` // why it is paused or stopped: "hello crashed 3 times on edge-17"
	Definitions []DefinitionStatus `json:"definitions"`
	Policy      string             `json:"policy,omitempty"` // name of its Rollout; "": it has none, and went to all Envoys at once
	Opened      time.Time          `json:"opened"`
	Ended       time.Time          `json:"ended,omitzero"`

	Wave      int          `json:"wave"`      // from 1; 0: none has begun
	Waves     []WaveStatus `json:"waves"`     // all, including future ones
	Concerned int          `json:"concerned"` // number of connected Envoys that it affects
	Reached   int          `json:"reached"`   // of these, those that should have it
	Settled   int          `json:"settled"`   // of these, those that run it

	Cohorts *CohortsStatus  `json:"cohorts,omitempty"`
	Judges  []VerdictStatus `json:"judges"` // the last verdicts in its current wave
	Curves  *Curves         `json:"curves,omitempty"`
}

// DefinitionStatus describes one of the definitions of a change.
type DefinitionStatus struct {
	Kind string          `json:"kind"`           // "filter", "listener", or a type URL
	Name string          `json:"name"`           //
	What string          `json:"what"`           // "added", "changed" or "removed"
	From string          `json:"from,omitempty"` // eight hex digits that identify the old content
	To   string          `json:"to,omitempty"`   // and the new content
	Diff []textdiff.Line `json:"diff,omitempty"` // of their texts; omitted if there are many
}

// WaveStatus describes a wave of a change.
type WaveStatus struct {
	Name   string    `json:"name"`   // "tier=canary", "1 Envoy", "5 %"
	Envoys int       `json:"envoys"` // number that it reached, including earlier waves; 0: it has not begun
	Began  time.Time `json:"began,omitzero"`
	Good   time.Time `json:"good,omitzero"` // since when all its Envoys run the change
	Ended  time.Time `json:"ended,omitzero"`
}

// CohortsStatus lists the Envoys that are compared, at most a hundred of each.
type CohortsStatus struct {
	New     []string `json:"new"`
	Control []string `json:"control"`
}

// VerdictStatus is a judge's last verdict.
type VerdictStatus struct {
	Judge   string  `json:"judge"` // "signals", "prometheus 1", "webhook 2"
	Verdict Verdict `json:"verdict"`
	Words   string  `json:"words,omitempty"`
}

// Curves are the signals of the cohorts over time.
type Curves struct {
	Step    time.Duration `json:"step"` // between two points, in nanoseconds
	From    time.Time     `json:"from"`
	Began   time.Time     `json:"began,omitzero"` // when the new cohort got the change
	New     []Point       `json:"new"`
	Control []Point       `json:"control"`
}

// Point contains the signals of a cohort in one Step.
type Point struct {
	Requests float64 `json:"requests"`           // answered
	Errors   float64 `json:"errors"`             // of them, by a 5xx
	Median   float64 `json:"median,omitempty"`   // of how long they took, in seconds
	Slow     float64 `json:"slow,omitempty"`     // the percentile of the policy, in seconds
	Crashes  int     `json:"crashes,omitempty"`  // of VMs
	Restarts int     `json:"restarts,omitempty"` // of Envoys
}

// BaseStatus describes a base that was in force from At on.
type BaseStatus struct {
	ID    string    `json:"id"` // of the change that made it
	Title string    `json:"title"`
	At    time.Time `json:"at,omitzero"`
}

// HeldStatus describes a definition that differs in force from the desired state, since a
// change was rolled back. It ends when both agree, or the desired state changes.
type HeldStatus struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	Files string    `json:"files,omitempty"` // eight hex digits that identify the desired content; "": absent
	Force string    `json:"force,omitempty"` // and the content in force
	Since time.Time `json:"since"`
	By    string    `json:"by"` // ID of the change that was rolled back
}
