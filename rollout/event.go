package rollout

import (
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Event is an input of a Machine.
type Event interface{ apply(m *Machine) }

type (
	// Wanted is the desired state, with modules and policies.
	Wanted struct{ Set *module.Set }

	// Expected is a node that was probably connected before this process started. All of
	// them must come before the first Wanted, except for those of replicas that are Missing
	// until then.
	Expected struct{ Node definition.Node }
	// Connected is a node that has a stream.
	Connected struct{ Node definition.Node }
	// Gone is a node whose last stream has ended.
	Gone struct {
		ID  string
		Had bool // whether it had something that it was sent
	}
	// Restarted is an Envoy that has come back without resources.
	Restarted struct{ ID string }
	// Fresh is an Envoy without resources that is new to its replica. It may have restarted
	// and been connected to another replica before, which only a leader that hears all
	// replicas can determine. A Machine ignores it.
	Fresh struct{ ID string }

	// Settled reports that a choice is completely in place on an Envoy.
	Settled struct {
		ID     string
		Choice Choice
		Unable bool // to report its requests: it has not subscribed to the resource that would make it do so
	}

	// Refused reports that an Envoy has rejected a resource of its choice.
	Refused struct {
		ID      string
		Choice  Choice
		Key     Key
		Message string
	}
	// Crashed reports that a VM has crashed. Unsure means that it may be that of another
	// filter.
	Crashed struct {
		ID     string
		Filter string
		Unsure bool
	}
	// Judged is a judge's verdict on a change in a wave, see [Look.Answer].
	Judged struct {
		Change  string
		Wave    int
		Since   time.Time // as in the Look
		Judge   string    // SignalsJudge, or a name returned by judges
		Verdict Verdict
		Words   string
	}

	// Saved reports that a batch, with all earlier ones, is saved.
	Saved struct{ Seq uint64 }
	// Tick reports that the time Ready.Wake has come.
	Tick struct{}
)

// Verdict is a judge's opinion of a change in its wave.
type Verdict string

// The verdicts.
const (
	Good      Verdict = "good"
	Bad       Verdict = "bad"
	Unsure    Verdict = "unsure"     // not known yet
	NoTraffic Verdict = "no traffic" // too little traffic to judge, however long one waits
	Unable    Verdict = "unable"     // the judge can't judge these Envoys, or can't be reached
)

// Ready is the result of a step.
type Ready struct {
	// Save must be saved as a whole, after all earlier batches. Then the machine must
	// receive Saved: no Envoy gets a change before that.
	Save *Batch
	Plan *Plan // nil: as before
	// Ahead means that Save contains a change that Plan gives to all Envoys, because it has
	// no policy. If other replicas give their Envoys what is saved, Plan must wait for
	// that.
	Ahead bool
	// Watch lists the Envoys to observe, or to stop observing.
	Watch []Watch
	Told  []Told
	// Err is why a Command was not executed.
	Err  error
	Wake time.Time // when to call Step with a Tick; zero: not needed
}

// Batch contains the values to save, by key. A nil value removes the key.
type Batch struct {
	Seq    uint64
	Values map[string][]byte
	// Urgent means that the batch contains the first base, or signals from before a wave,
	// which can't be collected again; or that a wave begins once it is saved, or has begun.
	Urgent bool
}

// Watch describes the Envoys that a change is judged by: New are those that a wave gives it
// to, and Control are at least as many similar ones for which nothing changes.
type Watch struct {
	Change       string
	Wave         int
	Policy       *definition.Rollout
	Phase        Phase
	New, Control []string
	// ControlSince is since when all of Control have the change, if no Envoys are left that
	// do not; zero: they do not have it.
	ControlSince time.Time
	// Told are the Envoys' signals from before the wave, if it began before this process
	// started; nil: unknown.
	Told []byte
}

// Phase is the progress of a Watch.
type Phase string

// The phases.
const (
	Before Phase = "before" // none of New has the change yet
	During Phase = "during" // all of New get it now
	After  Phase = "after"  // observation ends
)

// Told is an event in words, for people.
type Told struct {
	Change string // ID of the change; "": of no single change
	Title  string
	State  State
	Words  string
	Cause  Cause // of a stop or pause that has just happened; "": none has
}

// Cause is why a change was stopped or paused, for metrics.
type Cause string

// The causes. For a bad verdict it is the kind of judge: "signals", "prometheus",
// "webhook".
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

// Causes returns all causes.
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
	if m.plan == nil || e.Choice != m.plan.at(n) { // it should have another choice now, or still
		m.ahead(e.ID, Key{}, e)
		m.change(n, func() { n.settled = n.settled.and(e.Choice) })
		return
	}
	m.settledSince(e.ID)
	m.change(n, func() { n.settled = e.Choice })
	m.returned(e.ID, e.Choice)
}

func (e Saved) apply(m *Machine) {
	m.saved = max(m.saved, e.Seq)
}

func (Tick) apply(*Machine) {}

func (Fresh) apply(*Machine) {}

func (Rewritten) apply(*Machine) {} // the leader wrote that itself
