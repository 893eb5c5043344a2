package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// Options are a machine's givens. Space and Snapshot must be set.
type Options struct {
	Space    *Space
	Snapshot *resource.Snapshot
	Delta    bool
	// Salt is where the attempts of an Envoy that is not fresh begin, so that
	// its bytes differ from what an earlier stream may have pushed last.
	Salt int
	// Lost are the slots that this Envoy's last stream ended without, see
	// Machine.Lost.
	Lost []string
	// Rand gives numbers in [0, 1) for the jitter of back-offs; nil: no jitter.
	Rand func() float64
}

// Machine is the protocol's state for one stream of one Envoy. The zero value
// is not usable; see New.
type Machine struct {
	space *Space
	snap  *resource.Snapshot
	rand  func() float64
	subs  [Types]sub

	tries   []*try   // what is not as it is wanted yet, and why
	dirty   []string // ECDS resources whose last push was NACKed
	lost    []string // see Lost
	passes  []item   // what does nothing, of slots in listeners that were sent for it
	stamps  []stamp  // since when each slot runs what it runs
	changes []Change // by the newest Step
	proved  []*resource.Filter
	salt    int
	heals   int           // pushes that only replace a NACKed one
	began   time.Time     // the first Step
	lag     time.Duration // between the newest answered response and its answer
	warmEnd time.Time     // how long listeners may be waited for that lack a slot's content
	nonce   uint32
	delta   bool
	tracked tracked
	known   bool // the Envoy came with something: it is not fresh
}

// sub is the subscription to one type.
type sub struct {
	subscribed bool
	wildcard   bool
	unknown    bool      // it has something that it did not name
	names      *names    // nil: it named none yet
	have       *View     // what it ACKed
	flight     *Response // sent, neither ACKed nor NACKed
	nonce      uint32    // of the newest response; 0: none
	sent       time.Time // when it was
}

type stamp struct {
	name string
	at   time.Time
}

// New makes the machine of a new stream.
func New(o Options) *Machine {
	m := &Machine{space: o.Space, snap: o.Snapshot, rand: o.Rand, salt: o.Salt, delta: o.Delta, lost: o.Lost}
	for t := range m.subs {
		m.subs[t].have = o.Space.empty[t]
	}
	return m
}

// Event is something that a machine reacts to.
type Event interface {
	apply(m *Machine, now time.Time)
}

// Step takes an event and gives the responses to send, in this order. now must
// not go back.
func (m *Machine) Step(now time.Time, e Event) []Send {
	m.changes, m.proved = nil, nil
	if m.began.IsZero() {
		m.began = now
	}
	e.apply(m, now)
	m.track(now)
	var out []Send
	for t := range Types {
		s := &m.subs[t]
		if !s.subscribed || s.flight != nil {
			continue
		}
		if r := m.next(t, now); r != nil {
			m.nonce++
			s.flight, s.nonce, s.sent = r, m.nonce, now
			out = append(out, Send{Response: r, Nonce: m.nonce})
			m.sent(r)
		}
	}
	return out
}

// Tick is the time that Due gave.
type Tick struct{}

func (Tick) apply(*Machine, time.Time) {}

// Publish is a new snapshot for this Envoy.
type Publish struct{ Snapshot *resource.Snapshot }

func (p Publish) apply(m *Machine, now time.Time) {
	before := m.snap
	m.snap = p.Snapshot
	m.resolve(Listener)
	m.resolve(Extension)
	m.superseded(before)
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
	Initial                map[string]string // what it has, on a stream's first request
}

func (r Request) apply(m *Machine, now time.Time) {
	s := &m.subs[r.Type]
	first := !s.subscribed
	s.subscribed = true
	if first {
		m.remember(r, now)
	}
	m.subscribe(r, first)
	nonce := parseNonce(r.Nonce)
	if nonce == 0 || nonce != s.nonce {
		return // about an older response, or only about names
	}
	f := s.flight
	if f == nil {
		return
	}
	s.flight = nil
	m.lag = now.Sub(s.sent)
	m.tracked = tracked{}
	if r.Failed {
		m.nacked(r.Type, f, r.Error, now)
		return
	}
	m.acked(r.Type, f, now)
	m.prune(r.Type)
}

// remember takes what a reconnecting Envoy says that it has.
func (m *Machine) remember(r Request, now time.Time) {
	s := &m.subs[r.Type]
	var items []item
	if m.delta {
		for name, version := range r.Initial {
			items = append(items, item{name: name, version: base(version)})
		}
		slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	} else {
		items = parse(r.Version)
	}
	if r.Type == Extension {
		items = slices.DeleteFunc(items, func(it item) bool { return slices.Contains(m.lost, it.name) })
	}
	m.known = m.known || len(r.Initial) > 0 || r.Version != ""
	s.unknown = len(items) == 0 && r.Version != ""
	s.have = m.space.view(r.Type, items)
	m.resolve(r.Type)
	if r.Type == Listener {
		m.warmEnd = now.Add(warmLimit) // they may still wait
	}
}

// resolve finds the resources of what a reconnecting Envoy told by version.
func (m *Machine) resolve(t Type) {
	s := &m.subs[t]
	if !slices.ContainsFunc(s.have.items, func(it item) bool { return it.res == nil }) {
		return
	}
	items := slices.Clone(s.have.items)
	var found []item
	for i, it := range items {
		if it.res == nil {
			if want, ok := m.lookup(t, it.name); ok && want.version == it.version {
				items[i] = want
				found = append(found, want)
			} else if old, ok := m.space.known.find(t, it.name, it.version); ok {
				items[i] = old
			}
		}
	}
	s.have = m.space.view(t, items)
	if neededAgain(t, m.delta) {
		m.space.known.add(t, found) // as if this server had sent it
	}
}

func (m *Machine) acked(t Type, r *Response, now time.Time) {
	s := &m.subs[t]
	before := s.have
	s.have = r.to
	if before != r.from {
		// Names were dropped while it was under way; prune sees to the rest.
		s.have = m.space.view(t, merge(before.items, r.changed, r.gone))
	}
	s.unknown = false
	for _, it := range r.changed {
		m.done(t, it)
		if t != Extension {
			continue
		}
		m.dirty = slices.DeleteFunc(m.dirty, func(n string) bool { return n == it.name })
		if !isTwin(it.name) {
			m.stamp(it.name, now)
			if it.filter != nil {
				m.proved = append(m.proved, it.filter)
			}
		}
	}
	switch t {
	case Extension:
		m.lose(r)
		m.took(r.changed, before)
	case Listener:
		m.warmEnd = now.Add(warmLimit)
		m.loseUnused()
	}
}

// sent notes what follows from having sent r. A cluster that is replaced waits
// for its endpoints anew, and holds back the ACK until it has them; in delta
// Envoy does not ask for what it has asked for before, so they are sent again.
func (m *Machine) sent(r *Response) {
	if r.Type == Listener {
		m.promise(r)
	}
	s := &m.subs[Endpoint]
	if r.Type != Cluster || !m.delta || s.names == nil {
		return
	}
	for _, it := range r.changed {
		if _, had := r.from.find(it.name); had {
			m.forget(Endpoint, s.names.sorted)
			return
		}
	}
}

// promise notes the passes that the listeners of r may need, until their slots
// are filled.
func (m *Machine) promise(r *Response) {
	have := m.subs[Extension].have
	m.passes = slices.DeleteFunc(m.passes, func(it item) bool {
		_, filled := have.find(it.name)
		return filled
	})
	for _, l := range r.changed {
		for _, name := range l.slots {
			f := m.filter(name)
			if f == nil || f.Pass() == nil {
				continue
			}
			if _, filled := have.find(name); !filled && !slices.ContainsFunc(m.passes, func(it item) bool { return it.name == name }) {
				m.passes = append(m.passes, plain(f.Pass()))
			}
		}
	}
}

func (m *Machine) stamp(name string, now time.Time) {
	for i := range m.stamps {
		if m.stamps[i].name == name {
			m.stamps[i].at = now
			return
		}
	}
	m.stamps = append(m.stamps, stamp{name, now})
}
