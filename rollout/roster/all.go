package roster

import (
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
)

// All contains the Envoys of all replicas, as reported to the leader in its term. It is not
// safe for concurrent use.
type All struct {
	servers map[string]*server
	holders map[string]int // number of replicas that an Envoy is connected to, by its ID
	restarts
}

// server is a replica that was heard.
type server struct {
	seq    uint64
	start  uint64 // of its reports, see Telling
	whole  bool   // all its Envoys were reported
	known  bool   // all its Envoys were reported once in this term
	envoys map[string]bool
	before map[string]bool // its Envoys from before it started to report anew that it has not reported again yet
}

// NewAll returns an empty All.
func NewAll() *All {
	return &All{servers: map[string]*server{}, holders: map[string]int{}, restarts: newRestarts()}
}

// Hear converts a report of a replica to events. It returns false if the replica must
// report anew, because an earlier report was lost.
func (a *All) Hear(now time.Time, id string, t Telling) ([]rollout.Event, bool) {
	s := a.servers[id]
	switch {
	case t.Anew && s != nil && t.Start != 0 && t.Start == s.start:
		return nil, true // a repetition: what has happened does not count twice
	case t.Anew:
		if s == nil {
			s = &server{}
			a.servers[id] = s
		}
		before := map[string]bool{}
		maps.Copy(before, s.before) // its earlier report was not complete
		maps.Copy(before, s.envoys)
		s.seq, s.start, s.whole, s.envoys, s.before = t.Seq-1, t.Start, false, map[string]bool{}, before
	case s == nil:
		return nil, false
	}
	if t.Seq == s.seq && !t.Anew {
		return nil, true // a repetition: the acknowledgement was lost
	}
	if t.Seq != s.seq+1 {
		return nil, false
	}
	s.seq = t.Seq
	var events []rollout.Event
	for _, n := range t.Connected {
		if !s.before[n.ID] && !s.envoys[n.ID] {
			a.holders[n.ID]++
		}
		delete(s.before, n.ID)
		s.envoys[n.ID] = true
		if !s.known {
			// It was connected before this replica led: waves wait for it.
			events = append(events, rollout.Expected{Node: n})
		}
		events = append(events, rollout.Connected{Node: n})
	}
	for _, e := range t.Fresh {
		if a.anew(now, e, false, a.holders[e]) {
			events = append(events, rollout.Restarted{ID: e})
		}
	}
	for _, h := range t.Happened {
		e := h.event()
		if _, is := e.(rollout.Restarted); !is || a.anew(now, h.ID, true, a.holders[h.ID]) {
			events = append(events, e)
		}
	}
	for _, e := range t.Settled {
		if a.holders[e.ID] > 0 {
			a.settled(e.ID)
		}
		events = append(events, rollout.Settled{ID: e.ID, Choice: e.Choice, Unable: e.Unable})
	}
	for _, e := range t.Gone {
		if s.envoys[e] {
			delete(s.envoys, e)
			events = a.leave(now, e, slices.Contains(t.Had, e), events)
		}
	}
	if !t.Rest && !s.whole {
		for _, e := range slices.Sorted(maps.Keys(s.before)) {
			events = a.leave(now, e, false, events)
		}
		s.whole, s.known, s.before = true, true, nil
	}
	return events, true
}

// leave records that an Envoy has disconnected from a replica.
func (a *All) leave(now time.Time, id string, had bool, events []rollout.Event) []rollout.Event {
	if a.holders[id]--; a.holders[id] > 0 {
		if a.handedOver(now, id) {
			events = append(events, rollout.Restarted{ID: id})
		}
		return events
	}
	delete(a.holders, id)
	a.went(now, id, had)
	return append(events, rollout.Gone{ID: id})
}

// Lose returns the events for a replica that is no longer heard.
func (a *All) Lose(now time.Time, id string) []rollout.Event {
	s := a.servers[id]
	if s == nil {
		return nil
	}
	delete(a.servers, id)
	for e := range s.before {
		s.envoys[e] = true
	}
	var events []rollout.Event
	for _, e := range slices.Sorted(maps.Keys(s.envoys)) {
		events = a.leave(now, e, false, events)
	}
	return events
}

// Heard reports whether a replica has reported all its Envoys.
func (a *All) Heard(id string) bool {
	s := a.servers[id]
	return s != nil && s.whole
}
