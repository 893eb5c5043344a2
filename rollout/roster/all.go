package roster

import (
	"maps"
	"slices"
	"time"

	"wasmxds/rollout"
)

// All are the Envoys of all servers, as they have told the leader in its term. It is
// not safe for concurrent use.
type All struct {
	servers map[string]*server
	holders map[string]int // how many servers an Envoy is connected to, by its id
	restarts
}

// server is one that was heard.
type server struct {
	seq    uint64
	whole  bool // all its Envoys were told
	known  bool // ... once in this term
	envoys map[string]bool
	before map[string]bool // what it had before it told anew, and was not told of again yet
}

// NewAll makes an All that has heard of nobody.
func NewAll() *All {
	return &All{servers: map[string]*server{}, holders: map[string]int{}, restarts: newRestarts()}
}

// Hear makes events of what a server tells. It is false where the server has to tell
// anew, as something it told before was not heard.
func (a *All) Hear(now time.Time, id string, t Telling) ([]rollout.Event, bool) {
	s := a.servers[id]
	switch {
	case t.Anew:
		if s == nil {
			s = &server{}
			a.servers[id] = s
		}
		before := map[string]bool{}
		maps.Copy(before, s.before) // it had not come to the end of what it told
		maps.Copy(before, s.envoys)
		s.seq, s.whole, s.envoys, s.before = t.Seq-1, false, map[string]bool{}, before
	case s == nil:
		return nil, false
	}
	if t.Seq == s.seq && !t.Anew {
		return nil, true // it was not told that it was heard
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
			// It was there before this server led: waves wait for it.
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

// leave notes that a server has an Envoy no more.
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

// Lose makes events of a server that is not heard any more.
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

// Heard says whether a server has told of all its Envoys.
func (a *All) Heard(id string) bool {
	s := a.servers[id]
	return s != nil && s.whole
}
