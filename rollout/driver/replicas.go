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

// Replicas are the servers of one state that Envoys may be connected to. One leads:
// it moves changes, and writes that down in its term. The others follow what it
// writes, and tell it what their Envoys tell.
//
// A server that can't read the state, and does not lead, is on its own ([Cares]): for
// its Envoys it goes on from what was written down. Nothing that has to be written
// down first moves, so no wave begins; a bad change is stopped, and what no policy is
// for goes on. When the state is back it leads, and what it has done is written down,
// or another leads, and that is given up.
type Replicas struct {
	ID string // of this one
	// Lead waits until this one is the only one that leads.
	Lead func(context.Context) (state.Term, error)
	// In gives the state as it is written to in a term, once it has all that was
	// written before, and what is owed is written down or given up.
	In func(context.Context, state.Term) (state.Store, error)
	// Shared is the state as all see it.
	Shared state.Store
	// Copy is what this server has of it, which is read where Shared can't be. What is
	// written to it is owed to Shared.
	Copy state.Store
	// GiveUp gives up what is owed.
	GiveUp func()
	// Leader gives the server that leads; it may be another at the next call.
	Leader func() Leader
	// SameClock says whether who led before has about the same clock; nil: it has.
	SameClock func() bool
	// Others are all other servers that there are by the state, by id, and whether
	// they live: one that does not may have left Envoys behind.
	Others func() map[string]bool
}

// Leader is the server that leads, as others reach it.
type Leader interface {
	// Term is its term; 0: nobody is known to lead.
	Term() uint64
	// Hear tells it what this server's Envoys have told.
	Hear(ctx context.Context, t roster.Telling) (Answer, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// Answer is what a leader answers a server that tells it something.
type Answer struct {
	Known bool `json:"known"` // false: all is to be told anew
	// Ahead: its Envoys have what is not written down yet.
	Ahead bool `json:"ahead,omitempty"`
}

// ErrNotLeader: what was to be told to the leader was told to another server, or to
// none.
var ErrNotLeader = errors.New("this server does not lead")

const (
	// tellEvery is how often the leader is told that this server is there, and
	// tellSoon how long what is to be told is gathered.
	tellEvery = time.Second
	tellSoon  = 50 * time.Millisecond
	tellTime  = 5 * time.Second // that one telling may take
	// lostAfter is for how long a server has not been heard that is lost.
	lostAfter = 5 * time.Second
	// readTime is how long it may take to read the state, and probeEvery how often it
	// is looked whether it can be.
	readTime   = 5 * time.Second
	probeEvery = 3 * time.Second
	// sureAfter is how long a server that can read the state waits to lead, or to reach
	// who does, before it follows what is written: longer than it takes to lead, with a
	// lease of a server that was killed and pauses between tries.
	sureAfter = 45 * time.Second
	// leaderWait is how long a command waits for somebody to lead.
	leaderWait = 15 * time.Second
)

// Stand is how a server stands to the others.
type Stand string

// How it may stand.
const (
	Leads   Stand = "leads"
	Follows Stand = "follows"
	Cares   Stand = "on its own" // for its Envoys, as it can't read the state
)

// role is what a Driver has that has Replicas. It is Run's.
type role struct {
	began    time.Time
	own      *roster.Own
	wanted   *rollout.Wanted    // what the files say
	expected []rollout.Expected // who was here before this server started
	stand    Stand
	told     uint64        // the term whose leader is told
	news     chan struct{} // holds a token when there is something to tell

	values   map[string][]byte // that are written down, as Shared has them
	readable time.Time         // since when Shared can be read; zero: it can't
	sure     bool              // since then it was found that this server follows
	answered time.Time         // when who leads said that all is written; zero: not yet
	behind   time.Time         // since when it says that not all is; zero: it does not
	given    bool              // Envoys have something of this server
	first    waits             // what they are to have, before that
	reread   chan struct{}     // holds a token when Shared is to be read anew
	cares    sync.WaitGroup    // what Run waits for besides

	// While it leads.
	term  uint64
	all   *roster.All
	heard map[string]time.Time // when each server was, that has told of all its Envoys or does

	reached   time.Time             // when the leader was last, or this server began to follow
	unreached atomic.Pointer[error] // why it was not since; nil: it was
	standing  atomic.Pointer[Standing]
}

func newRole() *role {
	r := &role{began: time.Now(), own: roster.NewOwn(), stand: Follows, news: make(chan struct{}, 1), reread: make(chan struct{}, 1), reached: time.Now()}
	r.standing.Store(&Standing{Stand: Follows})
	return r
}

// Standing is how a server stands to the others, for people.
type Standing struct {
	Stand   Stand
	Behind  bool     // it is on its own as who leads can't write down what Envoys have
	Unheard []string // servers that a leader does not hear
	Lost    string   // why who leads is not reached, where that takes long
}

// Standing is how this server stands, or was a second ago; with no other servers it
// leads.
func (d *Driver) Standing() Standing {
	if d.role == nil {
		return Standing{Stand: Leads}
	}
	return *d.role.standing.Load()
}

// stands notes how this server stands.
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
	}
	r.standing.Store(s)
}

func (d *Driver) leads() bool { return d.role.stand == Leads }

var errNobody = fmt.Errorf("no server is known to lead: %w", ErrNotLeader)

// written is what is written down, and when that was.
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

// copied is what is written down as far as a copy knows, which may be ahead of what
// others can read: no wave has begun by that.
func copied(ctx context.Context, in state.Store) (map[string][]byte, error) {
	values, _, err := written(ctx, in)
	return rollout.BeforeWaves(values), err
}

// knownIn is how long Shared may take before the copy has to do.
const knownIn = 3 * time.Second

// known is what is written down, by Shared or, where that can't be read now, by the copy.
func (r *Replicas) known(ctx context.Context) (map[string][]byte, error) {
	short, cancel := context.WithTimeout(ctx, knownIn)
	defer cancel()
	if values, _, err := written(short, r.Shared); err == nil {
		return values, nil
	}
	return copied(ctx, r.Copy)
}

// observe takes an event of this server: what its Envoys tell goes by way of what all
// servers tell, as an Envoy may be connected to several.
func (d *Driver) observe(e rollout.Event) {
	r := d.role
	switch e := e.(type) {
	case rollout.Wanted:
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

// doWith has a command done by who leads, or, on its own, here. Where nobody leads, as
// who did was killed, it waits until somebody does, but not for ever.
func (d *Driver) doWith(ctx context.Context, c rollout.Command) error {
	for began := time.Now(); ; {
		err := d.do(ctx, c, d.leads)
		if !errors.Is(err, ErrNotLeader) {
			return err
		}
		// It may be done where this says another error.
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

// statusWith tells what who leads tells of all changes, or else what is known here.
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
		s.Stalled = "this server does not reach the one that moves changes, and tells what it knows: " + (*failed).Error()
	}
	return s, err
}

// Here is the Driver for other servers, which is asked only as long as it leads.
type Here struct{ *Driver }

// Do does what people say.
func (h Here) Do(ctx context.Context, c rollout.Command) error {
	return h.do(ctx, c, h.leads)
}

// Status tells of all changes.
func (h Here) Status(ctx context.Context) (rollout.Status, error) {
	return h.status(ctx, h.leads)
}
