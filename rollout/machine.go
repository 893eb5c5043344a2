package rollout

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/module"
)

// Options are a machine's givens.
type Options struct {
	// Check gives what is wrong with a whole set, in words; nil: nothing ever is.
	// Of a combination of changes counts what neither the base nor the files have.
	Check func(*module.Set) []string
	// Signals says that a judge named SignalsJudge looks at what is watched.
	Signals bool
	// Before is for how long the Envoys of a wave are watched before it begins.
	Before time.Duration
	// Known says whether the Envoys of a wave that is prepared have told enough to
	// compare with; nil: after Before they have. It is waited for up to MostBefore.
	Known      func(now time.Time, l Look) bool
	MostBefore time.Duration
	// BakeAnew has waves bake from now on that are good already: that was written down by
	// another clock.
	BakeAnew bool
	// Broken, if set, has each step checked against the invariants, and is called
	// with what breaks one.
	Broken func(error)
}

// Machine is the rollout of all changes. It is a plain value: events go in through
// Step, what is to be done comes out; it has no goroutine, no clock and no
// connection, and is not safe for concurrent use.
type Machine struct {
	o Options

	// What is kept.
	begun bool // there is a base
	base  items
	open  []*change // the older first
	done  []*change // the newer first
	held  map[Key]held
	seq   uint64 // of the newest that is done

	// What the files say.
	wanted *set         // nil: nothing was told yet
	adopt  map[Key]bool // definitions of the base that are lost: what the files say is taken for them

	fleet   fleet
	calm    calm
	ended   []*change // that did not become the base, the newer first
	started time.Time
	now     time.Time
	last    time.Time

	kept      kept
	saved     uint64 // all up to that batch is written down
	plan      *Plan
	replan    bool // it is another by now
	again     bool // one change may have let another go on
	baseWhole *module.Set

	altered      bool // the base and all changes are not what the files say
	combinations map[Choice]combination
	tolerated    map[string]bool

	// Of other servers that Envoys are connected to.
	missing map[string]time.Time // that are not heard, since when; see Missing
	early   map[aheadKey]Event   // what their Envoys have told of waves that are being written down

	// Of a Machine that follows another.
	follows  bool
	contents map[string]*Item // that are written down, by the hashes they are written by

	ready Ready
	audit *audit // nil: steps are not checked
}

// held is a definition of which the base is to have something else than the files
// say.
type held struct {
	Files string // hash of what they say, and is not followed; "": that it is not there
	To    *Item  // nil: not there
	Since time.Time
	By    string // the change that was rolled back
}

// Step takes an event. now must not go back.
func (m *Machine) Step(now time.Time, e Event) Ready {
	m.ready, m.now = Ready{}, now
	if m.started.IsZero() {
		m.started = now
	}
	m.elapse()
	if m.follows {
		m.follow(e)
		return m.ready
	}
	m.caughtUp()
	e.apply(m)
	m.written()
	m.expire()
	// Before the files are read, nothing moves, and nobody is told anything.
	for m.again = m.wanted != nil; m.again; {
		m.again = false
		for _, c := range slices.Clone(m.open) {
			if slices.Contains(m.open, c) {
				m.progress(c)
			}
		}
	}
	if m.replan && m.wanted != nil {
		m.replan = false
		m.plan = m.newPlan()
		m.ready.Plan = m.plan
	}
	if m.isEarly() {
		m.wakeAt(m.now)
	}
	m.flush()
	if m.audit != nil {
		m.audit.check(m)
	}
	return m.ready
}

// Wake is when to Step with a Tick next; zero: not needed.
func (m *Machine) Wake() time.Time { return m.ready.Wake }

// wakeAt asks for a Tick.
func (m *Machine) wakeAt(t time.Time) {
	if m.ready.Wake.IsZero() || t.Before(m.ready.Wake) {
		m.ready.Wake = t
	}
}

// tell tells of a change; nil: of none.
func (m *Machine) tell(c *change, format string, args ...any) {
	t := Told{Words: fmt.Sprintf(format, args...)}
	if c != nil {
		t.Change, t.Title, t.State = c.ID, title(c.Diffs), c.State
	}
	m.ready.Told = append(m.ready.Told, t)
}

// find gives an open change.
func (m *Machine) find(id string) *change {
	for _, c := range m.open {
		if c.ID == id {
			return c
		}
	}
	return nil
}
