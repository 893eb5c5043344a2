package roster

import (
	"maps"
	"slices"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// Own are the Envoys of a server, and what its leader is to be told of them. The zero
// Own is not usable, see [NewOwn]. It is not safe for concurrent use.
type Own struct {
	envoys   map[string]*envoy
	changed  []string // ids of which something is to be told, in order of time
	pending  map[string]bool
	happened []Happening
	had      map[string]bool // of those that are to be told as gone, if they had something
	anew     bool
	seq      uint64
	under    *Telling // that is on its way
}

// envoy is one that is connected.
type envoy struct {
	node      definition.Node
	settled   *rollout.Settled // nil: nothing was yet
	fresh     bool             // is to be told
	connected bool             // ... so is that it is there
	unsettled bool             // what is settled was told
}

// NewOwn makes an Own without Envoys.
func NewOwn() *Own {
	return &Own{envoys: map[string]*envoy{}, pending: map[string]bool{}, had: map[string]bool{}, anew: true}
}

const (
	// mostAtOnce is of how many Envoys a Telling tells, and mostBytes about how large
	// their ids and labels are, or else it is one Envoy.
	mostAtOnce = 1000
	mostBytes  = 1 << 20
	// mostHappened is how many happenings wait to be told. A change has been stopped
	// by far fewer.
	mostHappened = 4096
	mostMessage  = 1 << 10 // bytes of what an Envoy says to what it refuses
)

// Tell notes what an Envoy has told; other events are nothing to note.
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
		o.note(e.ID)
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

// bound drops the oldest happenings where too many wait.
func (o *Own) bound() {
	o.happened = slices.Delete(o.happened, 0, max(0, len(o.happened)-mostHappened))
}

func (o *Own) note(id string) {
	if !o.pending[id] {
		o.pending[id] = true
		o.changed = append(o.changed, id)
	}
}

// Len is how many Envoys there are.
func (o *Own) Len() int { return len(o.envoys) }

// Envoys are events that tell of all of them as they are.
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

// Anew has all Envoys told anew: another leads, or the one that does has lost sight of
// this server.
func (o *Own) Anew() {
	o.anew, o.seq, o.changed = true, 0, nil
	clear(o.pending)
	clear(o.had)
	if o.under != nil { // it may not have been taken
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

// Waits says whether there is anything to tell.
func (o *Own) Waits() bool {
	return o.anew || o.under != nil || len(o.changed) > 0 || len(o.happened) > 0
}

// Take gives what is to be told next. Until it is Taken, it is given again.
func (o *Own) Take() Telling {
	if o.under != nil {
		return *o.under
	}
	o.seq++
	t := Telling{Seq: o.seq, Anew: o.anew}
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
	if t.Rest = len(o.changed) > 0; !t.Rest { // else they may be of Envoys that are not told of yet
		t.Happened, o.happened = o.happened, nil
	}
	o.under = &t
	return t
}

// Taken notes that a Telling has reached the leader.
func (o *Own) Taken(seq uint64) {
	if o.under != nil && o.under.Seq == seq {
		o.under = nil
	}
}
