package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/roster"
	"wasmxds/state"
)

// Replicas are the servers of one state that Envoys may be connected to. One leads:
// it moves changes, and writes that down in its term. The others follow what it
// writes, and tell it what their Envoys tell.
type Replicas struct {
	ID string // of this one
	// Lead waits until this one is the only one that leads.
	Lead func(context.Context) (state.Term, error)
	// Shared is the state as all see it, without what this server could not write yet.
	Shared state.Store
	// Leader gives the server that leads; it may be another at the next call.
	Leader func() Leader
	// Others are all other servers that there are by the state, by id, and whether
	// they live: one that does not may have left Envoys behind.
	Others func() map[string]bool
}

// Leader is the server that leads, as others reach it.
type Leader interface {
	// Term is its term; 0: nobody is known to lead.
	Term() uint64
	// Hear tells it what this server's Envoys have told. It is false where all is to be
	// told anew.
	Hear(ctx context.Context, t roster.Telling) (bool, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// ErrNotLeader: what was told to the leader was told to another server.
var ErrNotLeader = errors.New("this server does not lead")

const (
	// tellEvery is how often the leader is told that this server is there, and
	// tellSoon how long what is to be told is gathered.
	tellEvery = time.Second
	tellSoon  = 50 * time.Millisecond
	tellTime  = 5 * time.Second // that one telling may take
	// lostAfter is for how long a server has not been heard that is lost.
	lostAfter = 5 * time.Second
)

// role is what a Driver has that leads or follows. It is Run's.
type role struct {
	began    time.Time
	own      *roster.Own
	wanted   *rollout.Wanted    // what the files say
	expected []rollout.Expected // who was here before this server started
	values   map[string][]byte  // that are written down, as far as they were seen
	told     uint64             // the term whose leader is told
	news     chan struct{}      // holds a token when there is something to tell

	// While it leads.
	term  uint64
	all   *roster.All
	heard map[string]time.Time // when each server was, that has told of all its Envoys or does
}

func newRole() *role {
	return &role{began: time.Now(), own: roster.NewOwn(), values: map[string][]byte{}, news: make(chan struct{}, 1)}
}

func (d *Driver) leader() Leader {
	if l := d.o.Replicas.Leader(); l != nil {
		return l
	}
	return nobody{}
}

// nobody leads.
type nobody struct{}

var errNobody = errors.New("no server is known to lead")

func (nobody) Term() uint64                                       { return 0 }
func (nobody) Hear(context.Context, roster.Telling) (bool, error) { return false, errNobody }
func (nobody) Do(context.Context, rollout.Command) error          { return errNobody }
func (nobody) Status(context.Context) (rollout.Status, error)     { return rollout.Status{}, errNobody }

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
		if d.lead != nil {
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

// hearOwn has a leader hear what its own Envoys tell.
func (d *Driver) hearOwn() {
	own := d.role.own
	for own.Waits() {
		t := own.Take()
		if !d.hear(d.o.Replicas.ID, t) {
			own.Anew()
			continue
		}
		own.Taken(t.Seq)
	}
}

// hear has a leader hear what a server tells.
func (d *Driver) hear(id string, t roster.Telling) bool {
	events, ok := d.role.all.Hear(time.Now(), id, t)
	for _, e := range events {
		_ = d.step(e) // only commands are refused
	}
	return ok
}

// Hear is told what the Envoys of another server tell, where this one leads in a
// term. It is false where all is to be told anew.
func (d *Driver) Hear(ctx context.Context, term uint64, id string, t roster.Telling) (ok bool, err error) {
	failed := d.call(ctx, func() {
		r := d.role
		if d.lead == nil || r.term != term {
			err = ErrNotLeader
			return
		}
		before := r.all.Heard(id)
		if ok = d.hear(id, t); ok {
			r.heard[id] = time.Now()
		}
		if before != r.all.Heard(id) {
			d.tellMissing()
		}
	})
	if failed != nil {
		return false, failed
	}
	return ok, err
}

// listen has a leader notice whom it does not hear any more.
func (d *Driver) listen(ctx context.Context) {
	for wait(ctx, tellEvery) {
		if d.call(ctx, d.lose) != nil {
			return
		}
	}
}

func (d *Driver) lose() {
	r := d.role
	if d.lead == nil {
		return
	}
	var gone []rollout.Event
	for id, at := range r.heard {
		if time.Since(at) >= lostAfter {
			d.log.Warn("another server is not heard any more: waves wait", "server", id)
			gone = append(gone, r.all.Lose(time.Now(), id)...)
			delete(r.heard, id)
		}
	}
	d.tellMissing()
	for _, e := range gone {
		_ = d.step(e) // only commands are refused
	}
}

// tellMissing tells the machine which servers are not heard.
func (d *Driver) tellMissing() {
	missing := map[string]bool{}
	for id, lives := range d.o.Replicas.Others() {
		if !d.role.all.Heard(id) {
			missing[id] = lives
		}
	}
	if id := d.o.Replicas.ID; !d.role.all.Heard(id) {
		missing[id] = true
	}
	_ = d.step(rollout.Missing{Servers: missing}) // only commands are refused
}

// campaign leads whenever it can, until ctx ends.
func (d *Driver) campaign(ctx context.Context) {
	for ctx.Err() == nil {
		term, err := d.o.Replicas.Lead(ctx)
		if err == nil {
			err = d.rule(ctx, term)
			term.End()
		}
		if err != nil && ctx.Err() == nil {
			d.log.Error("this server can't move changes", "error", err)
			wait(ctx, firstRetry)
		}
	}
}

// rule moves changes until the term ends.
func (d *Driver) rule(ctx context.Context, term state.Term) error {
	leading, over := context.WithCancel(ctx)
	var under sync.WaitGroup
	defer under.Wait()
	defer over()
	under.Go(func() {
		select {
		case <-term.Done():
			over()
		case <-leading.Done():
		}
	})
	values, err := written(leading, term.Store())
	if err != nil {
		return err
	}
	w := state.NewWriter(term.Store(), d.log)
	l := newLead(w.View(keys))
	l.over = over
	if err := d.call(leading, func() { d.take(term.Number(), l, values) }); err != nil {
		return err
	}
	under.Go(func() { w.Run(leading) })
	d.serve(leading, l)
	if values, err = written(ctx, d.o.Replicas.Shared); err != nil {
		values = nil // what was seen last has to do
	}
	_ = d.call(ctx, func() { d.yield(values) }) // else all ends
	return nil
}

// written is what is written down.
func written(ctx context.Context, in state.Store) (map[string][]byte, error) {
	entries, _, err := in.List(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read how far changes are: %w", err)
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key[len(keys):]] = e.Value
	}
	return values, nil
}

// take has this server lead, from what is written down. No wave begins before it has
// heard of the Envoys of all.
func (d *Driver) take(term uint64, l *lead, values map[string][]byte) {
	r := d.role
	d.log.Info("this server moves changes from now on", "term", term)
	d.lead = l
	r.term, r.all, r.heard = term, roster.NewAll(), map[string]time.Time{}
	d.begin(rollout.New(d.o.Options, values))
	d.tellMissing()
	if time.Since(r.began) < rollout.AwaitFor {
		for _, e := range r.expected {
			_ = d.step(e) // only commands are refused
		}
	}
	if r.wanted != nil {
		_ = d.step(*r.wanted) // only commands are refused
	}
	r.own.Anew()
	d.hearOwn()
	d.tellMissing()
}

// yield has this server follow. What it has given to Envoys they keep until whoever
// leads has written something else: what it wanted to write is not looked at.
func (d *Driver) yield(values map[string][]byte) {
	r := d.role
	if values != nil {
		r.values = values
	}
	d.log.Info("this server does not move changes any more")
	for _, w := range d.lead.watched {
		if w.Phase = rollout.After; d.o.Watch != nil {
			d.o.Watch(w)
		}
	}
	d.lead, r.all, r.heard, r.told = nil, nil, nil, 0
	d.begin(rollout.Follow(d.o.Options, maps.Clone(r.values)))
	if r.wanted != nil {
		_ = d.step(*r.wanted) // only commands are refused
	}
	r.own.Anew()
	for _, e := range r.own.Envoys() {
		_ = d.step(e) // only commands are refused
	}
}

// tellLeader tells whoever leads of this server's Envoys.
func (d *Driver) tellLeader(ctx context.Context) {
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-d.role.news:
			if !wait(ctx, tellSoon) {
				return
			}
		}
		for rest := true; rest && ctx.Err() == nil; {
			rest = d.tellOnce(ctx)
		}
	}
}

// tellOnce tells the leader what comes next, and says whether there is more.
func (d *Driver) tellOnce(ctx context.Context) (rest bool) {
	l := d.leader()
	term := l.Term()
	if term == 0 {
		return false
	}
	var t roster.Telling
	leads := false
	r := d.role
	if d.call(ctx, func() {
		if leads = d.lead != nil; leads {
			return
		}
		if r.told != term {
			r.told = term
			r.own.Anew()
		}
		t = r.own.Take()
	}) != nil || leads {
		return false
	}
	short, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	ok, err := l.Hear(short, t)
	if err != nil {
		return false // it is told again
	}
	_ = d.call(ctx, func() { // else ctx has ended
		switch {
		case d.lead != nil || r.told != term:
		case !ok:
			r.own.Anew()
			rest = true
		default:
			r.own.Taken(t.Seq)
			rest = t.Rest
		}
	})
	return rest
}

// follow reads what is written down, as it is written, until ctx ends.
func (d *Driver) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.followOnce(ctx)
		if ctx.Err() == nil && !errors.Is(err, state.ErrCompacted) {
			d.log.Error("how far changes are can't be read: what is known goes on", "error", err)
			wait(ctx, firstRetry)
		}
	}
}

func (d *Driver) followOnce(ctx context.Context) error {
	entries, at, err := d.o.Replicas.Shared.List(ctx, keys)
	if err != nil {
		return err
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key[len(keys):]] = e.Value
	}
	read := func() error {
		seen := maps.Clone(values)
		return d.call(ctx, func() {
			d.role.values = seen
			_ = d.step(rollout.Rewritten{Values: seen}) // only commands are refused
			d.keepModules()
		})
	}
	if err := read(); err != nil {
		return err
	}
	for e, err := range d.o.Replicas.Shared.Watch(ctx, keys, at) {
		if err != nil {
			return err
		}
		if e.Gone {
			delete(values, e.Key[len(keys):])
		} else {
			values[e.Key[len(keys):]] = e.Value
		}
		if e.More {
			continue
		}
		if err := read(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
