// Package roster carries what Envoys tell from the servers that they are connected
// to, to the one that moves changes. It is pure.
//
// A server keeps an [Own] of its Envoys and has [Own.Take] give what the leader is to
// be told next; the leader keeps an [All], which makes events of it for a
// rollout.Machine. What is told goes by value, and is bounded by the number of
// Envoys, whatever they do: of each there is what it is now. An Envoy that comes to
// another server as new has restarted; that takes knowing of both. A leader that is new, or
// has lost sight of a server, is told of all its Envoys anew.
package roster

import (
	"wasmxds/definition"
	"wasmxds/rollout"
)

// Telling is what a server tells of its Envoys at once. It is to be taken in the
// order of its fields.
type Telling struct {
	Seq  uint64 `json:"seq"`            // from 1, of this server and leader
	Anew bool   `json:"anew,omitempty"` // what was told before does not count: all Envoys follow
	Rest bool   `json:"rest,omitempty"` // there is more to be told at once

	Connected []definition.Node `json:"connected,omitempty"` // or with other labels
	Fresh     []string          `json:"fresh,omitempty"`     // have nothing, and were not here of late
	Happened  []Happening       `json:"happened,omitempty"`
	Settled   []Settled         `json:"settled,omitempty"`
	Gone      []string          `json:"gone,omitempty"`
	Had       []string          `json:"had,omitempty"` // of these, had something
}

// Settled is the choice that was last in place on an Envoy.
type Settled struct {
	ID     string         `json:"id"`
	Choice rollout.Choice `json:"choice"`
	Unable bool           `json:"unable,omitempty"` // to tell of its requests
}

// Happening is something that has happened to an Envoy: it refused the definition of
// Key, a filter of it crashed, or, where there is neither, it came back as new.
type Happening struct {
	ID      string         `json:"id"`
	Choice  rollout.Choice `json:"choice,omitempty"`
	Key     *rollout.Key   `json:"key,omitempty"`
	Message string         `json:"message,omitempty"`
	Crashed *string        `json:"crashed,omitempty"`
}

func happeningOf(e rollout.Event) (h Happening, is bool) {
	switch e := e.(type) {
	case rollout.Restarted:
		return Happening{ID: e.ID}, true
	case rollout.Crashed:
		return Happening{ID: e.ID, Crashed: &e.Filter}, true
	case rollout.Refused:
		return Happening{ID: e.ID, Choice: e.Choice, Key: &e.Key, Message: e.Message}, true
	}
	return Happening{}, false
}

func (h Happening) event() rollout.Event {
	switch {
	case h.Crashed != nil:
		return rollout.Crashed{ID: h.ID, Filter: *h.Crashed}
	case h.Key != nil:
		return rollout.Refused{ID: h.ID, Choice: h.Choice, Key: *h.Key, Message: h.Message}
	}
	return rollout.Restarted{ID: h.ID}
}
