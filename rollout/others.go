package rollout

import (
	"maps"
	"slices"
	"time"
)

// Missing lists the other replicas that Envoys may be connected to and that are not heard,
// by ID: all of them, each time. The value is true for those that are known to live. Waves
// wait for reports of their Envoys, as long as they live, and for AwaitFor otherwise: by
// then, the Envoys have connected to another replica.
//
// When a replica is no longer heard, Missing must come before its Envoys are Gone. When it
// is heard again, Missing must come after all reports of its Envoys.
type Missing struct{ Servers map[string]bool }

func (e Missing) apply(m *Machine) {
	next := make(map[string]time.Time, len(e.Servers))
	for id, lives := range e.Servers {
		since, known := m.missing[id]
		if !known || lives {
			since = m.now
		}
		next[id] = since
	}
	m.missing = next
}

// deaf reports whether there may be Envoys that this replica can't hear of.
func (m *Machine) deaf() bool {
	deaf := false
	for _, since := range m.missing {
		if until := since.Add(AwaitFor); m.now.Before(until) {
			m.wakeAt(until)
			deaf = true
		}
	}
	return deaf
}

// Unheard returns the IDs of the replicas that waves wait for.
func (m *Machine) Unheard() []string {
	var ids []string
	for id, since := range m.missing {
		if m.now.Before(since.Add(AwaitFor)) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// An Envoy of another replica may run a wave before this replica receives Saved for it,
// because the other has already read it. Reports of such an Envoy wait for that, and, if
// this replica has just started, until it has read the definitions.

// ahead remembers a report about a choice that the Envoy should not have yet, if it may
// soon.
func (m *Machine) ahead(id string, refused Key, e Event) {
	if m.follows || m.plan != nil && !m.writing() {
		return
	}
	if m.early == nil {
		m.early = map[string]map[Key]Event{}
	}
	if m.early[id] == nil {
		m.early[id] = map[Key]Event{}
	}
	m.early[id][refused] = e
}

// settledSince forgets what a node has reported early to run.
func (m *Machine) settledSince(id string) {
	delete(m.early[id], Key{})
	if len(m.early[id]) == 0 {
		delete(m.early, id)
	}
}

// writing reports whether a wave is being saved.
func (m *Machine) writing() bool {
	return slices.ContainsFunc(m.open, func(c *change) bool { return c.growth != nil && c.growth.writing })
}

// isEarly reports whether there are remembered reports that are no longer early.
func (m *Machine) isEarly() bool { return len(m.early) > 0 && m.plan != nil && !m.writing() }

// caughtUp processes remembered reports once they are no longer early.
func (m *Machine) caughtUp() {
	if !m.isEarly() {
		return
	}
	early := m.early
	m.early = nil
	for _, id := range slices.Sorted(maps.Keys(early)) {
		for _, k := range slices.SortedFunc(maps.Keys(early[id]), compareKeys) {
			early[id][k].apply(m)
		}
	}
}
