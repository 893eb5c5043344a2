package rollout

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/module"
)

// Options configure a Machine.
type Options struct {
	// Check returns what is wrong with a whole set, for people; nil: nothing ever is. For a
	// combination of changes, errors that the base or the desired state also has are
	// ignored.
	Check func(*module.Set) []string
	// Signals means that SignalsJudge judges what is observed.
	Signals bool
	// Before is how long the Envoys of a wave are observed before it begins.
	Before time.Duration
	// Known reports whether the Envoys of a wave that is prepared have sent enough signals
	// to compare with; nil: after Before they have. The wave waits for that until
	// MostBefore.
	Known      func(now time.Time, l Look) bool
	MostBefore time.Duration
	// BakeAnew restarts the bake time of waves that are already good, because another clock
	// has recorded it.
	BakeAnew bool
	// Broken, if not nil, enables checks of the invariants after each step. It is called
	// with each violation.
	Broken func(error)
}

// Machine is the rollout of all changes. It is a plain value: events go in through Step,
// and actions come out. It has no goroutine, clock or connection, and is not safe for
// concurrent use.
type Machine struct {
	o Options

	// What is saved.
	begun bool // there is a base
	base  items
	open  []*change // oldest first
	done  []*change // newest first
	held  map[Key]held
	seq   uint64 // of the newest change in done

	// The desired state.
	wanted *set         // nil: not known yet
	adopt  map[Key]bool // definitions of the base that are lost: those of the desired state replace them

	fleet   fleet
	calm    calm
	ended   []*change // changes that did not join the base, newest first
	started time.Time
	now     time.Time
	last    time.Time

	kept      kept
	saved     uint64 // everything up to this batch is saved
	plan      *Plan
	turn      uint64 // see Plan
	chosen    bool   // the plan before, possibly another process's, has choices
	replan    bool   // the plan must be computed again
	again     bool   // one change may have let another continue
	baseWhole *module.Set

	altered      bool // the base with all changes is not the desired state
	combinations map[Choice]combination
	tolerated    map[string]bool

	// Of other replicas that Envoys are connected to.
	missing map[string]time.Time // since when each is not heard; see Missing
	// Early reports of their Envoys about waves that are still being saved, by node ID and
	// by what it has rejected; zero: what it runs.
	early map[string]map[Key]Event

	// Of a Machine that follows another.
	follows  bool
	contents map[string]*Item // saved contents, by the hashes under which they are saved

	ready Ready
	audit *audit // nil: steps are not checked
}

// held is a definition that differs in the base from the desired state because of a
// rollback.
type held struct {
	Files string // hash in the desired state, which is ignored; "": absent there
	To    *Item  // content in the base; nil: absent
	Since time.Time
	By    string // ID of the change that was rolled back
}

// Step processes an event. now must not go back.
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
	// Until the definitions are read, nothing moves, and no plan is published.
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
		m.countTurn()
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

// countTurn counts a plan. Plans without choices say the same of all Envoys.
func (m *Machine) countTurn() {
	chooses := slices.ContainsFunc(m.open, (*change).reaches)
	if m.chosen || chooses {
		m.turn++
		m.kept.put(turnKey, m.turn)
	}
	m.chosen = chooses
}

// Wake returns when to call Step with a Tick; zero: not needed.
func (m *Machine) Wake() time.Time { return m.ready.Wake }

// wakeAt requests a Tick at t.
func (m *Machine) wakeAt(t time.Time) {
	if m.ready.Wake.IsZero() || t.Before(m.ready.Wake) {
		m.ready.Wake = t
	}
}

// tell reports an event of a change, or of none if c is nil.
func (m *Machine) tell(c *change, format string, args ...any) {
	t := Told{Words: fmt.Sprintf(format, args...)}
	if c != nil {
		t.Change, t.Title, t.State = c.ID, title(c.Diffs), c.State
	}
	m.ready.Told = append(m.ready.Told, t)
}

// find returns the open change with an ID, or nil.
func (m *Machine) find(id string) *change {
	for _, c := range m.open {
		if c.ID == id {
			return c
		}
	}
	return nil
}
