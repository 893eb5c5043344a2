// Package roster transports reports of Envoys from the replicas that they are connected to,
// to the leader. It is pure.
//
// A replica has an [Own] with its Envoys, and [Own.Take] returns the next report for the
// leader. The leader has an [All], which converts reports to events for a rollout.Machine.
// Reports contain the current state of each Envoy, so their size is bounded by the number
// of Envoys, whatever these do. An Envoy that connects to another replica without resources
// has restarted, which only All can determine. A new leader, or one that has lost a
// replica, receives all of its Envoys anew.
package roster

import (
	"wasmxds/definition"
	"wasmxds/rollout"
)

// Telling is one report of a replica about its Envoys. Its fields must be processed in
// order.
type Telling struct {
	Seq  uint64 `json:"seq"`            // from 1, for this replica and leader
	Anew bool   `json:"anew,omitempty"` // earlier reports are void: all Envoys follow
	// Start is a random number of these reports, with the first of them, by which a
	// repetition is recognized; 0: it is from a build that has none.
	Start uint64 `json:"start,omitempty"`
	Rest  bool   `json:"rest,omitempty"` // more follows at once

	Connected []definition.Node `json:"connected,omitempty"` // new, or with other labels
	Fresh     []string          `json:"fresh,omitempty"`     // have no resources, and were not connected here recently
	Happened  []Happening       `json:"happened,omitempty"`
	Settled   []Settled         `json:"settled,omitempty"`
	Gone      []string          `json:"gone,omitempty"`
	Had       []string          `json:"had,omitempty"` // those of Gone that had something they were sent
}

// Settled is the choice that was last in place on an Envoy.
type Settled struct {
	ID     string         `json:"id"`
	Choice rollout.Choice `json:"choice"`
	Unable bool           `json:"unable,omitempty"` // to report its requests
}

// Happening is an event of an Envoy: it rejected the definition of Key, its filter Crashed,
// or, if neither is set, it restarted.
type Happening struct {
	ID      string         `json:"id"`
	Choice  rollout.Choice `json:"choice,omitempty"`
	Key     *rollout.Key   `json:"key,omitempty"`
	Message string         `json:"message,omitempty"`
	Crashed *string        `json:"crashed,omitempty"`
	Unsure  bool           `json:"unsure,omitempty"` // of Crashed
}

func happeningOf(e rollout.Event) (h Happening, is bool) {
	switch e := e.(type) {
	case rollout.Restarted:
		return Happening{ID: e.ID}, true
	case rollout.Crashed:
		return Happening{ID: e.ID, Crashed: &e.Filter, Unsure: e.Unsure}, true
	case rollout.Refused:
		return Happening{ID: e.ID, Choice: e.Choice, Key: &e.Key, Message: e.Message}, true
	}
	return Happening{}, false
}

func (h Happening) event() rollout.Event {
	switch {
	case h.Crashed != nil:
		return rollout.Crashed{ID: h.ID, Filter: *h.Crashed, Unsure: h.Unsure}
	case h.Key != nil:
		return rollout.Refused{ID: h.ID, Choice: h.Choice, Key: *h.Key, Message: h.Message}
	}
	return rollout.Restarted{ID: h.ID}
}
