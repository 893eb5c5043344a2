package rollout

import (
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Event is what a Machine is told.
type Event interface{ apply(m *Machine) }

type (
	// Wanted is what the files say now, with modules and policies.
	Wanted struct{ Set *module.Set }

	// Expected is a node that was there before this server started, most likely. All
	// are to be told before the first Wanted, but for those of servers that are
	// Missing until then.
	Expected struct{ Node definition.Node }
	// Connected is a node that has a stream.
	Connected struct{ Node definition.Node }
	// Gone is one whose last stream has ended.
	Gone struct {
		ID  string
		Had bool // something of what it was sent
	}
	// Restarted is an Envoy that has come back as new.
	Restarted struct{ ID string }
	// Fresh is one that is new to the server that it has come to. Where there are others
	// it may have come back as new: who hears all of them knows. To a Machine it is
	// nothing.
	Fresh struct{ ID string }

	// Settled says that all is in place on an Envoy, of that choice.
	Settled struct {
		ID     string
		Choice Choice
		Unable bool // to tell of its requests: it has not asked for what would have it do so
	}

	// Refused says that an Envoy has refused something that it was sent for that
	// choice.
	Refused struct {
		ID      string
		Choice  Choice
		Key     Key
		Message string
	}
	// Crashed says that a VM has crashed.
	Crashed struct {
		ID     string
		Filter string
	}
	// Judged is what a judge says of a change in a wave.
	Judged struct {
		Change  string
		Wave    int
		Judge   string // SignalsJudge, or as Judges has it
		Verdict Verdict
		Words   string
	}

	// Saved says that a batch is written down, and all before it.
	Saved struct{ Seq uint64 }
	// Tick says that it is as late as Ready.Wake.
	Tick struct{}
)

// Verdict is what a judge says of a change in its wave.
type Verdict string

// The verdicts.
const (
	Good      Verdict = "good"
	Bad       Verdict = "bad"
	Unsure    Verdict = "unsure"     // not yet
	NoTraffic Verdict = "no traffic" // too little to tell, however long one waits
	Unable    Verdict = "unable"     // it can't judge these Envoys, or can't be reached
)

// Ready is what a step has led to.
type Ready struct {
	// Save is to be written down, after all before it, as a whole. Then the
	// machine is to be told Saved: no Envoy gets a change before that.
	Save *Batch
	Plan *Plan // who gets what from now on; nil: as before
	// Ahead: Save has something that everybody has by Plan, as no policy is for it. Where
	// other servers give their Envoys what is written down, Plan is to wait for that.
	Ahead bool
	// Watch are the Envoys to look at, or to look at no more.
	Watch []Watch
	Told  []Told
	// Err says why a Command was not done.
	Err  error
	Wake time.Time // when to Step with a Tick next; zero: not needed
}

// Batch is what is to be written down at keys. A value that is nil is removed.
type Batch struct {
	Seq    uint64
	Values map[string][]byte
	// Urgent: it has the first base, or what Envoys told before a wave, which nobody
	// tells again; or a wave begins when it is written down, or has begun.
	Urgent bool
}

// Watch are the Envoys that a change is judged by: those that a wave gives it to,
// and as many or more of those for which nothing changes, likest to them.
type Watch struct {
	Change       string
	Wave         int
	Policy       *definition.Rollout
	Phase        Phase
	New, Control []string
	// ControlSince is from when on all of Control have had the change, where
	// nobody is left that has not; zero: they have not.
	ControlSince time.Time
	// Told is what they told before the wave, which began before this server started;
	// nil: that is not known.
	Told []byte
}

// Phase is how far a Watch is.
type Phase string

// The phases.
const (
	Before Phase = "before" // nobody of New has the change yet
	During Phase = "during" // all of New get it now
	After  Phase = "after"  // there is nothing to look at any more
)

// Told is something that happened, in words.
type Told struct {
	Change string // its id; "": it is of no single change
	Title  string
	State  State
	Words  string
	Cause  Cause // what stopped or paused it, where it was just now; "": it was not
}

// Cause is what a change was stopped or paused by, for counting.
type Cause string

// The causes. What a judge finds bad is told by the kind of judge: "signals",
// "prometheus", "webhook".
const (
	ByHand     Cause = "hand"
	ByRefusals Cause = "refused"
	ByCrashes  Cause = "crashes"
	ByRestarts Cause = "restarts"
)

func byJudge(judge string) Cause {
	kind, _, _ := strings.Cut(judge, " ")
	return Cause(kind)
}

// Causes are all of them.
func Causes() []Cause {
	return []Cause{ByHand, ByRefusals, ByCrashes, ByRestarts, SignalsJudge, "prometheus", "webhook"}
}

func (e Expected) apply(m *Machine) {
	if n := m.fleet.nodes[e.Node.ID]; n == nil {
		m.connect(e.Node, true)
	}
}

func (e Connected) apply(m *Machine) {
	n := m.connect(e.Node, false)
	for _, c := range m.open {
		if c.waitsFor != nil && labelled(&e.Node, c.waitsFor) {
			c.waitsFor = nil
		}
	}
	if m.plan != nil && !m.replan {
		if p := m.with(m.plan, n); p != nil {
			m.plan, m.ready.Plan = p, p
		}
	}
}

func (e Gone) apply(m *Machine) {
	if n := m.fleet.nodes[e.ID]; n != nil && n.connected {
		m.disconnect(n)
	}
}

func (e Settled) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil || !n.connected {
		return
	}
	n.unable = e.Unable
	if m.plan == nil || e.Choice != m.plan.at(n) { // it is to have something else, by now or still
		m.ahead(aheadKey{id: e.ID}, e)
		m.change(n, func() { n.settled = n.settled.and(e.Choice) })
		return
	}
	delete(m.early, aheadKey{id: e.ID})
	m.change(n, func() { n.settled = e.Choice })
	m.returned(e.ID, e.Choice)
}

func (e Saved) apply(m *Machine) {
	m.saved = max(m.saved, e.Seq)
}

func (Tick) apply(*Machine) {}

func (Fresh) apply(*Machine) {}

func (Rewritten) apply(*Machine) {} // it has written that itself
