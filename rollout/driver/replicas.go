package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/roster"
	"wasmxds/state"
)

// Replicas describes the replicas that share a state and that Envoys may be connected to.
// One leads: it moves changes, and saves that in its term. The others follow what it saves,
// and report their Envoys to it.
//
// A replica that can't read the state, and does not lead, is on its own ([Cares]): it
// continues for its Envoys from the saved state. Nothing moves that must be saved first, so
// no wave begins; bad changes are stopped, and changes without a policy go on. When the
// state is available again, either this replica leads, and what it has done is saved, or
// another leads, and it is given up.
type Replicas struct {
	ID string // of this replica
	// Lead waits until this replica is the only one that leads.
	Lead func(context.Context) (state.Term, error)
	// In returns the state for writes in a term, once it has all earlier writes, and what
	// is owed is written or given up.
	In func(context.Context, state.Term) (state.Store, error)
	// Shared is the state as all replicas see it.
	Shared state.Store
	// Copy is this replica's copy of the state, which is read when Shared can't be. Writes
	// to it are later pushed to Shared.
	Copy state.Store
	// GiveUp gives up the writes to Copy that were not pushed yet.
	GiveUp func()
	// Leader returns the current leader, which may change with each call.
	Leader func() Leader
	// SameClock reports whether the previous leader has about the same clock; nil: it has.
	SameClock func() bool
	// Others returns all other replicas in the state, by ID, and whether they live. One
	// that does not may have left Envoys behind.
	Others func() map[string]bool
}

// Leader is the replica that leads, as others reach it.
type Leader interface {
	// Term returns its term; 0: no leader is known.
	Term() uint64
	// Known reports whether the state has said who leads, or that nobody does.
	Known() bool
	// Hear reports this replica's Envoys to it.
	Hear(ctx context.Context, t roster.Telling) (Answer, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// Answer is a leader's answer to a report.
type Answer struct {
	Known bool `json:"known"` // false: everything must be reported again
	// Ahead means that the leader's Envoys have what is not saved yet.
	Ahead bool `json:"ahead,omitempty"`
}

// ErrNotLeader means that a request for the leader reached another replica, or none.
var ErrNotLeader = errors.New("this server does not lead")

// ErrAway means that nothing accepts connections where the leader should be. A leader that
// accepts them is not away, however slow it is.
var ErrAway = errors.New("the server that leads can't be reached")

const (
	// tellEvery is the interval of reports to the leader, and tellSoon how long events are
	// gathered for one report.
	tellEvery = time.Second
	tellSoon  = 50 * time.Millisecond
	tellTime  = 5 * time.Second // timeout of one report
	// lostAfter is how long after its last report a replica is lost.
	lostAfter = 5 * time.Second
	// readTime is the timeout of reading the state, and probeEvery the interval of checks
	// whether it can be read.
	readTime   = 5 * time.Second
	probeEvery = 3 * time.Second
	// sureAfter is how long a replica that can read the state waits to lead, or to reach
	// the leader, before it follows the saved state. It is longer than it takes to lead,
	// including the lease of a replica that was killed and the pauses between attempts.
	sureAfter = 45 * time.Second
	// apartAfter is how long definitions here may differ from the leader's before that is
	// reported: replicas read them at different times.
	apartAfter = 15 * time.Second
	// leaderWait is how long a command waits for a leader.
	leaderWait = 15 * time.Second
)

// Stand is the role of a replica among the others.
type Stand string

// The roles.
const (
	Leads   Stand = "leads"
	Follows Stand = "follows"
	Cares   Stand = "on its own" // serves its Envoys without the state, which it can't read
)

// role is the state of a Driver that has Replicas. Only Run uses it.
type role struct {
	began    time.Time
	own      *roster.Own
	wanted   *rollout.Wanted    // the desired state
	defined  chan struct{}      // closed when that is known
	expected []rollout.Expected // Envoys that were connected before this process started
	stand    Stand
	told     uint64        // the term whose leader receives the reports
	news     chan struct{} // holds a token when there is something to report

	values   map[string][]byte // the saved state in Shared
	readable time.Time         // since when Shared can be read; zero: it can't
	sure     bool              // it was found since then that this replica follows
	answered time.Time         // when the leader reported that everything is saved; zero: not yet
	behind   time.Time         // since when it reports the opposite; zero: it does not
	given    bool              // Envoys have a plan of this replica
	first    waits             // the first plan that they will have
	last     *rollout.Plan     // that they have; nil: it is of another machine
	away     bool              // the leader can't be reached, or there is none: that is certain
	reread   chan struct{}     // holds a token when Shared must be read again
	cares    sync.WaitGroup    // additional goroutines that Run waits for

	// While it leads.
	term  uint64
	all   *roster.All
	heard map[string]time.Time // when each replica that reports its Envoys was last heard

	compared   bool          // apart is up to date
	apart      []rollout.Key // definitions that are not as the leader has them
	apartSince time.Time     // since when there have been any, or since when there are none

	reached   time.Time             // when the leader was last reached, or this replica began to follow
	unreached atomic.Pointer[error] // why it was not reached since; nil: it was
	standing  atomic.Pointer[Standing]
}

func newRole() *role {
	r := &role{began: time.Now(), own: roster.NewOwn(), stand: Follows, defined: make(chan struct{}), news: make(chan struct{}, 1), reread: make(chan struct{}, 1), reached: time.Now()}
	r.standing.Store(&Standing{Stand: Follows})
	return r
}

// Standing describes the role of a replica among the others, for people.
type Standing struct {
	Stand   Stand
	Behind  bool     // it is on its own because the leader can't save what Envoys have
	Unheard []string // replicas that a leader does not hear
	// Apart are definitions that this replica, which follows, has otherwise than the leader
	// for longer than it takes to read and save them.
	Apart []rollout.Key
	Lost  string // why the leader can't be reached, once that takes long
}

// Standing returns the role of this replica, at most a second old. Without other replicas
// it leads.
func (d *Driver) Standing() Standing {
	if d.role == nil {
		return Standing{Stand: Leads}
	}
	return *d.role.standing.Load()
}

// stands updates Standing.
func (d *Driver) stands() {
	r := d.role
	s := &Standing{Stand: r.stand}
	switch {
	case r.stand == Leads:
		s.Unheard = d.m.Unheard()
	case r.stand == Cares && !r.behind.IsZero():
		s.Behind = true
	case time.Since(r.reached) >= lostAfter && r.unreached.Load() != nil:
		s.Lost = (*r.unreached.Load()).Error()
	case r.sure && time.Since(r.apartSince) >= apartAfter:
		s.Apart = r.apart
	}
	r.standing.Store(s)
}

// compare looks which definitions here are not as the leader has them.
func (d *Driver) compare() {
	r := d.role
	if r.compared {
		return
	}
	r.compared = true
	apart := d.m.Apart()
	if (len(apart) > 0) != (len(r.apart) > 0) {
		r.apartSince = time.Now()
	}
	r.apart = apart
}

func (d *Driver) leads() bool { return d.role.stand == Leads }

var errNobody = fmt.Errorf("no server is known to lead: %w", ErrNotLeader)

// written returns the saved state and its revision.
func written(ctx context.Context, in state.Store) (map[string][]byte, state.Revision, error) {
	entries, at, err := in.List(ctx, keys)
	if err != nil {
		return nil, 0, fmt.Errorf("read how far changes are: %w", err)
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key[len(keys):]] = e.Value
	}
	return values, at, nil
}

// copied returns the saved state in a copy. That may be ahead of what others can read, so
// no wave begins because of it.
func copied(ctx context.Context, in state.Store) (map[string][]byte, error) {
	values, _, err := written(ctx, in)
	return rollout.BeforeWaves(values), err
}

// knownIn is how long reading Shared may take before the copy is used.
const knownIn = 3 * time.Second

// known returns the saved state in Shared or, if that can't be read now, in the copy.
func (r *Replicas) known(ctx context.Context) (map[string][]byte, error) {
	short, cancel := context.WithTimeout(ctx, knownIn)
	defer cancel()
	if values, _, err := written(short, r.Shared); err == nil {
		return values, nil
	}
	return copied(ctx, r.Copy)
}

// observe processes an event of this replica. Events of its Envoys are merged with the
// reports of all replicas, because an Envoy may be connected to several.
func (d *Driver) observe(e rollout.Event) {
	r := d.role
	switch e := e.(type) {
	case rollout.Wanted:
		if r.wanted == nil {
			close(r.defined)
		}
		r.wanted = &e
	case rollout.Expected:
		r.expected = append(r.expected, e)
	case rollout.Connected, rollout.Fresh, rollout.Gone, rollout.Settled, rollout.Restarted, rollout.Refused, rollout.Crashed:
		r.own.Tell(e)
		if d.leads() {
			d.hearOwn()
			return
		}
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
	_ = d.step(e) // only commands are refused
}

// doWith executes a command on the leader or, if this replica is on its own, here. If there
// is no leader, for instance because it was killed, it waits for one, for at most
// leaderWait.
func (d *Driver) doWith(ctx context.Context, c rollout.Command) error {
	for began := time.Now(); ; {
		err := d.do(ctx, c, d.leads)
		if !errors.Is(err, ErrNotLeader) {
			return err
		}
		// After any other error it may have been executed.
		if err = d.o.Replicas.Leader().Do(ctx, c); !errors.Is(err, ErrNotLeader) {
			return err
		}
		if here := d.do(ctx, c, func() bool { return d.lead != nil }); !errors.Is(here, ErrNotLeader) {
			return here
		}
		if time.Since(began) >= leaderWait || !wait(ctx, tellEvery) {
			return fmt.Errorf("nobody who moves changes could be told: %w", err)
		}
	}
}

// statusWith returns the leader's status of all changes, or else what is known here.
func (d *Driver) statusWith(ctx context.Context) (rollout.Status, error) {
	s, err := d.status(ctx, d.leads)
	if !errors.Is(err, ErrNotLeader) {
		return s, err
	}
	failed := d.role.unreached.Load()
	if failed == nil {
		short, cancel := context.WithTimeout(ctx, tellTime)
		defer cancel()
		s, err := d.o.Replicas.Leader().Status(short)
		if err == nil {
			return s, nil
		}
		failed = &err
	}
	if s, err = d.status(ctx, func() bool { return true }); err == nil && s.Stalled == "" {
		s.Stalled = "this server can't reach the one that leads, and shows what it knows: " + (*failed).Error()
	}
	return s, err
}

// Here is the Driver for other replicas. It answers only while it leads.
type Here struct{ *Driver }

// Do executes a command.
func (h Here) Do(ctx context.Context, c rollout.Command) error {
	return h.do(ctx, c, h.leads)
}

// Status returns the status of all changes.
func (h Here) Status(ctx context.Context) (rollout.Status, error) {
	return h.status(ctx, h.leads)
}
