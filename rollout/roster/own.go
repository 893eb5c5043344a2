package roster

import (
	"maps"
	"math/rand/v2"
	"slices"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// Own contains the Envoys of a replica, and what must be reported to the leader. The zero
// value is not usable; see [NewOwn]. It is not safe for concurrent use.
type Own struct {
	envoys   map[string]*envoy
	changed  []string // IDs with something to report, in order of time
	pending  map[string]bool
	happened []Happening
	had      map[string]bool // those that will be reported as gone and had something they were sent
	anew     bool
	seq      uint64
	under    *Telling // the report in flight
}

// envoy is a connected Envoy.
type envoy struct {
	node      definition.Node
	settled   *rollout.Settled // nil: nothing yet
	fresh     bool             // to be reported as fresh
	connected bool             // to be reported as connected
	unsettled bool             // settled is to be reported
}

// NewOwn returns an Own without Envoys.
func NewOwn() *Own {
	return &Own{envoys: map[string]*envoy{}, pending: map[string]bool{}, had: map[string]bool{}, anew: true}
}

const (
	// mostAtOnce is the most Envoys of one Telling, and mostBytes the approximate size of
	// their IDs and labels, unless it is a single Envoy.
	mostAtOnce = 1000
	mostBytes  = 1 << 20
	// mostHappened is the most happenings that wait to be reported. Far fewer stop a
	// change.
	mostHappened = 4096
	mostMessage  = 1 << 10 // of the message with which an Envoy rejects a resource
	// mostGone is about how many Envoys that are gone wait to be reported. With more, which
	// takes a leader that can't be reached for long, all that are still here are reported.
	mostGone = 20_000
)

// Tell records an event of an Envoy, and ignores other events.
func (o *Own) Tell(e rollout.Event) {
	switch e := e.(type) {
	case rollout.Connected:
		v := o.envoys[e.Node.ID]
		if v == nil {
			v = &envoy{}
			o.envoys[e.Node.ID] = v
		}
		v.node, v.connected = e.Node, true
		delete(o.had, e.Node.ID)
		o.note(e.Node.ID)
	case rollout.Fresh:
		if v := o.envoys[e.ID]; v != nil {
			v.fresh = true
			o.note(e.ID)
		}
	case rollout.Gone:
		delete(o.envoys, e.ID)
		if e.Had {
			o.had[e.ID] = true
		}
		if o.note(e.ID); len(o.changed) > len(o.envoys)+mostGone {
			o.Anew()
		}
	case rollout.Settled:
		if v := o.envoys[e.ID]; v != nil {
			v.settled, v.unsettled = &e, true
			o.note(e.ID)
		}
	default:
		h, is := happeningOf(e)
		if !is {
			return
		}
		if _, restarted := e.(rollout.Restarted); restarted && o.envoys[h.ID] != nil {
			o.envoys[h.ID].settled, o.envoys[h.ID].unsettled = nil, false
		}
		h.Message = h.Message[:min(len(h.Message), mostMessage)]
		o.happened = append(o.happened, h)
		o.bound()
	}
}

// bound drops the oldest happenings if too many wait.
func (o *Own) bound() {
	o.happened = slices.Delete(o.happened, 0, max(0, len(o.happened)-mostHappened))
}

func (o *Own) note(id string) {
	if !o.pending[id] {
		o.pending[id] = true
		o.changed = append(o.changed, id)
	}
}

// Len returns the number of Envoys.
func (o *Own) Len() int { return len(o.envoys) }

// Envoys returns events that describe all Envoys in their current state.
func (o *Own) Envoys() []rollout.Event {
	var events []rollout.Event
	for _, id := range slices.Sorted(maps.Keys(o.envoys)) {
		v := o.envoys[id]
		events = append(events, rollout.Connected{Node: v.node})
		if v.settled != nil {
			events = append(events, *v.settled)
		}
	}
	return events
}

// Anew makes the next report start over with all Envoys, because there is a new leader, or
// the leader has lost this replica.
func (o *Own) Anew() {
	o.anew, o.seq, o.changed = true, 0, nil
	clear(o.pending)
	clear(o.had)
	if o.under != nil { // it may not have been received
		o.happened = append(o.under.Happened, o.happened...)
		for _, id := range o.under.Fresh {
			if v := o.envoys[id]; v != nil {
				v.fresh = true
			}
		}
		o.under = nil
		o.bound()
	}
	for id, v := range o.envoys {
		v.connected, v.unsettled = true, v.settled != nil
		o.note(id)
	}
}

// Waits reports whether there is anything to report.
func (o *Own) Waits() bool {
	return o.anew || o.under != nil || len(o.changed) > 0 || len(o.happened) > 0
}

// Take returns the next report. Until Taken is called with its number, it returns the same
// one.
func (o *Own) Take() Telling {
	if o.under != nil {
		return *o.under
	}
	o.seq++
	t := Telling{Seq: o.seq, Anew: o.anew}
	if o.anew {
		t.Start = rand.Uint64() | 1
	}
	o.anew = false
	n, bytes := 0, 0
	for _, id := range o.changed[:min(len(o.changed), mostAtOnce)] {
		v := o.envoys[id]
		if v != nil && v.connected {
			bytes += v.node.Size()
		}
		if n > 0 && bytes > mostBytes {
			break
		}
		n++
		delete(o.pending, id)
		if v == nil {
			t.Gone = append(t.Gone, id)
			if o.had[id] {
				t.Had = append(t.Had, id)
				delete(o.had, id)
			}
			continue
		}
		if v.connected {
			t.Connected = append(t.Connected, v.node)
		}
		if v.fresh {
			t.Fresh = append(t.Fresh, id)
		}
		if v.unsettled {
			t.Settled = append(t.Settled, Settled{id, v.settled.Choice, v.settled.Unable})
		}
		v.connected, v.fresh, v.unsettled = false, false, false
	}
	o.changed = slices.Delete(o.changed, 0, n)
	if t.Rest = len(o.changed) > 0; !t.Rest { // earlier ones may belong to Envoys that were not reported yet
		t.Happened, o.happened = o.happened, nil
	}
	o.under = &t
	return t
}

// Taken records that the leader has received a Telling.
func (o *Own) Taken(seq uint64) {
	if o.under != nil && o.under.Seq == seq {
		o.under = nil
	}
}
