package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Missing are the other servers that Envoys may be connected to and that are not
// heard, by id: all of them, each time. Those that are true are known to live. Waves
// wait for what their Envoys have to tell, as long as they live, and of others for
// AwaitFor: by then their Envoys have come to another server.
//
// Of a server that is not heard any more it is told before it is told that its
// Envoys are Gone; of one that is heard again, after all that its Envoys have told.
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

// deaf says whether there may be Envoys that this server can't hear of.
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

// Unheard are the servers that waves wait for, by id.
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

// An Envoy that another server has may run a wave before this server is told that
// the wave is written down: the other has seen it written. What such an Envoy tells
// waits for that, and for this server to have read the files where it has just
// started.

// aheadKey tells apart what is to be remembered of an Envoy.
type aheadKey struct {
	id      string
	refused Key // zero: it is settled
}

// ahead remembers what an Envoy tells of a choice that it is not to have yet, if it may
// come to that.
func (m *Machine) ahead(k aheadKey, e Event) {
	if m.follows || m.plan != nil && !m.writing() {
		return
	}
	if m.early == nil {
		m.early = map[aheadKey]Event{}
	}
	m.early[k] = e
}

// writing says whether a wave is being written down.
func (m *Machine) writing() bool {
	return slices.ContainsFunc(m.open, func(c *change) bool { return c.growth != nil && c.growth.writing })
}

// isEarly says whether there is something that was told too early, and is not any more.
func (m *Machine) isEarly() bool { return len(m.early) > 0 && m.plan != nil && !m.writing() }

// caughtUp takes what was told too early, when it is not any more.
func (m *Machine) caughtUp() {
	if !m.isEarly() {
		return
	}
	early := m.early
	m.early = nil
	for _, k := range slices.SortedFunc(maps.Keys(early), compareAhead) {
		early[k].apply(m)
	}
}

func compareAhead(a, b aheadKey) int {
	return cmp.Or(cmp.Compare(a.id, b.id), compareKeys(a.refused, b.refused))
}
