package swap

import (
	"cmp"
	"strconv"
	"time"

	"wasmxds/resource"
)

// Options configure a Machine. Interner and Snapshot are required.
type Options struct {
	Interner *Interner
	Snapshot *resource.Snapshot
	Delta    bool
	// Salt is where the attempts of an Envoy that is not fresh begin, so that its bytes
	// differ from the last ones that an earlier stream may have pushed.
	Salt int
	// Sampling is the initial rate; see [Sample].
	Sampling uint32
	// Left is what this Envoy's last stream has left to this one.
	Left Left
	// DrainTime is how long, at most, connections of this Envoy continue with a listener
	// that was replaced; 0: the const DrainTime.
	DrainTime time.Duration
	// Respare is how long nothing must have changed before a listener whose spares are used
	// up is replaced; 0: it is not replaced for that reason.
	Respare time.Duration
	// Rand returns numbers in [0, 1) for the jitter of back-offs; nil: no jitter.
	Rand func() float64
	// Broken, if not nil, enables checks of every response against the invariants before it
	// is sent. It is called with each violation.
	Broken func(error)
}

// Machine is the protocol of one stream of one Envoy. The zero value is not usable; see
// New.
type Machine struct {
	state
	audit *audit    // nil: responses are not checked
	ready Ready     // result of the current step
	idle  bool      // the current event cannot lead to a response
	due   time.Time // Ready.Wake of the last step
}

// New returns the Machine of a new stream.
func New(o Options) *Machine {
	m := &Machine{state: state{interner: o.Interner, snap: o.Snapshot, rand: o.Rand, salt: o.Salt, delta: o.Delta, lost: o.Left.lost, promises: o.Left.promises, crashes: o.Left.leftCrashes(o.Salt), alarms: o.Left.alarms,
		drainTime: cmp.Or(o.DrainTime, DrainTime), respare: o.Respare, sampling: resource.SamplingRate(o.Sampling)}}
	for t := range Types {
		m.subs[t].have = o.Interner.Acked(t, nil)
	}
	if o.Broken != nil {
		m.audit = newAudit(o.Broken)
	}
	return m
}

// Ready is the result of a step.
type Ready struct {
	Sends   []Send             // responses to send, in this order
	Changes []Change           // of running filters; the first versions of a fresh Envoy are not included
	Proved  []*resource.Filter // seen put in place: this Envoy runs them
	// Stuck are the versions of filters that this Envoy rejects although it has their
	// modules, or may have them, and of which it runs no other version.
	Stuck   []string
	Refused []Refusal
	// Crashing are versions of filters whose VMs have crashed once more, and crash too
	// often on this Envoy.
	Crashing []string
	Wake     time.Time // when to call Step with a Tick; zero: not needed
}

// Send is a response with its nonce.
type Send struct {
	*Response
	Nonce uint32
}

// Step processes an event. now must not go back.
func (m *Machine) Step(now time.Time, e Event) Ready {
	if m.began.IsZero() {
		m.began = now
		m.putOffRespare(now)
	}
	m.idle = false
	e.apply(m, now)
	m.track(now)
	m.trackCrashes(now)
	if due := m.respare > 0 && !now.Before(m.respareAt); due != m.respareDue {
		m.respareDue, m.at = due, nil
	}
	if without := m.givenUpLoggers(now); without != m.without {
		m.without, m.at = without, nil
	}
	if !m.idle || m.Due(now) {
		m.send(now)
	}
	ready := m.ready
	m.ready = Ready{} // don't retain responses that nobody needs any more
	ready.Stuck, ready.Wake = m.stuck(), m.wake(now)
	m.due = ready.Wake
	return ready
}

// Wake returns the Ready.Wake of the last step.
func (m *Machine) Wake() time.Time { return m.due }

// Due reports whether that time has come.
func (m *Machine) Due(now time.Time) bool { return !m.due.IsZero() && !now.Before(m.due) }

// send commits the responses that may go out now.
func (m *Machine) send(now time.Time) {
	for t := range Types {
		a, ok := plan(&m.state, t, now)
		if !ok {
			continue
		}
		if m.audit != nil {
			m.audit.check(&m.state, a, now)
		}
		m.commit(a, now)
	}
}

// Event is an input of a machine.
type Event interface {
	apply(m *Machine, now time.Time)
}

// Tick reports that the time Ready.Wake has come.
type Tick struct{}

func (Tick) apply(*Machine, time.Time) {}

// Publish is a new snapshot for this Envoy.
type Publish struct{ Snapshot *resource.Snapshot }

func (p Publish) apply(m *Machine, now time.Time) {
	before := m.snap
	m.putOffRespare(now)
	m.snap, m.at = p.Snapshot, nil
	m.resolve(Listener)
	m.resolve(Extension)
	m.takeUntold(now)
	m.superseded(before)
}

func (d Download) apply(m *Machine, now time.Time) {
	var due time.Time
	for i := range m.primings {
		if p := &m.primings[i]; p.SHA256 == d.SHA256 && p.sent() {
			*p = p.Next(d, m.timing(now))
			due = later(due, p.Due)
		}
	}
	m.idle = d.Progress == DownloadStarted // filters only wait for longer
	if d.Progress != DownloadDone || d.Shared || due.IsZero() {
		return
	}
	for i := range m.primings { // those that wait for the same module
		if p := &m.primings[i]; p.SHA256 == d.SHA256 {
			*p = p.Next(fetched{due}, m.timing(now))
		}
	}
}

// Request is a DiscoveryRequest or DeltaDiscoveryRequest.
type Request struct {
	Type   Type
	Nonce  string
	Failed bool   // a NACK
	Error  string // its message

	// State of the world.
	Names   []string
	Version string

	// Delta.
	Subscribe, Unsubscribe []string
	Initial                map[string]string // what the Envoy has, in a stream's first request
}

func (r Request) apply(m *Machine, now time.Time) {
	s := &m.subs[r.Type]
	first := !s.subscribed
	if first {
		s.subscribed, m.at = true, nil
		m.remember(r, now)
	}
	m.subscribe(r, first)
	if first && r.Type == Extension {
		m.takeAlarms(now)
	}
	nonce, f := parseNonce(r.Nonce), s.flight
	if f == nil || nonce == 0 || nonce != s.nonce { // about an older response, or only about names
		m.idle = !first && r.Type == Extension && m.startsAsking(now)
		return
	}
	s.flight = nil
	m.lag = now.Sub(m.began) - s.sent
	m.tracked = tracked{}
	if r.Failed {
		m.nacked(r.Type, f, r.Error, now)
		return
	}
	m.acked(r.Type, f, now)
	m.prune(r.Type)
}

// FormatNonce returns the nonce as it is sent.
func FormatNonce(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// parseNonce returns 0, which is never sent, for an invalid nonce.
func parseNonce(s string) uint32 {
	if s == "" {
		return 0 // avoid allocating an error
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
