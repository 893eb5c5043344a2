// Package patience bounds what is held for clients that keep a server waiting:
// connections that have not said what they want, streams that have not said who
// they are, messages of which a part has come.
//
// Start with [New]. Each such thing is a [Wait] with a cost in bytes. A wait has
// a deadline; and where all together cost too much, the costliest and oldest of
// the address that costs most are ended, so that others get their turn. Nobody
// is made to wait for that. It is safe for concurrent use.
package patience

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Errors that a wait ends with.
var (
	ErrLate  = errors.New("what was begun did not come to its end in time")
	ErrShort = errors.New("too much is waited for, and this has taken longest")
)

// Room holds waits.
type Room struct {
	limit int           // bytes of all waits
	grace time.Duration // nothing is ended that has waited for less, but at its deadline

	mu    sync.Mutex
	waits map[*Wait]struct{}
	bytes int
	again time.Time   // there is nothing to end before
	retry *time.Timer // at that time; nil: none

	freed chan struct{} // holds a token when a wait has ended
}

// New makes a Room for waits that cost limit bytes together. Up to twice that,
// one that the client has not kept waiting for as long as grace is not ended for
// others' sake: that is how long an honest client may be silent on a slow network.
func New(limit int, grace time.Duration) *Room {
	return &Room{limit: limit, grace: grace, waits: map[*Wait]struct{}{}, freed: make(chan struct{}, 1)}
}

// Wait is a wait. Its methods do nothing once it has ended.
type Wait struct {
	room  *Room
	addr  netip.Addr
	since time.Time
	end   func(error)
	late  *time.Timer

	// Of who holds room.mu.
	bytes  int
	silent time.Time // since when it is the client's turn; zero: it is ours
	spoken func() bool
}

// Begin begins a wait for the client at addr. If it lasts too long, or costs too
// much, end is called, once, by whoever finds that out, and must not wait.
func (r *Room) Begin(addr netip.Addr, bytes int, deadline time.Duration, end func(error)) *Wait {
	now := time.Now()
	w := &Wait{room: r, addr: network(addr), since: now, silent: now, end: end, bytes: bytes}
	r.mu.Lock()
	w.late = time.AfterFunc(deadline, func() { w.endWith(ErrLate) })
	r.waits[w] = struct{}{}
	r.bytes += bytes
	tooMany := r.shed(now)
	r.mu.Unlock()
	endAll(tooMany)
	return w
}

// network is what an address is counted by: with IPv6, a machine has a whole /64.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Grow adds to what the wait costs.
func (w *Wait) Grow(bytes int) {
	r := w.room
	r.mu.Lock()
	var tooMany []*Wait
	if _, ok := r.waits[w]; ok {
		now := time.Now()
		w.bytes, w.silent = w.bytes+bytes, now
		r.bytes += bytes
		tooMany = r.shed(now)
	}
	r.mu.Unlock()
	endAll(tooMany)
}

// Unless has the wait not ended for others' sake, below twice the limit, while
// spoken says that something of the client is there which nobody has come to read
// yet. It must not wait.
func (w *Wait) Unless(spoken func() bool) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.spoken = spoken
}

// Ours tells that it is the server's turn: the wait is not ended for others'
// sake until [Wait.Theirs].
func (w *Wait) Ours() { w.turn(time.Time{}) }

// Theirs tells that it is the client's turn again.
func (w *Wait) Theirs() { w.turn(time.Now()) }

func (w *Wait) turn(silent time.Time) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.silent = silent
}

// Done ends the wait: what was waited for is there, or nobody waits any more.
// It tells whether that was so before.
func (w *Wait) Done() bool {
	r := w.room
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.waits[w]
	r.remove(w)
	return ok
}

// Await returns when there is room for another wait, or would be by ending one that
// has lasted for long enough, but after as long as grace at the latest. Who can wait
// where it costs nothing does so first: in the kernel, a client that is slow gets the
// time to say something before it is waited for here. It is for one caller at a time.
func (r *Room) Await() {
	late := time.NewTimer(r.grace)
	defer late.Stop()
	for r.full() {
		again := time.NewTimer(max(r.grace/8, time.Millisecond))
		select {
		case <-r.freed:
		case <-again.C:
		case <-late.C:
			again.Stop()
			return
		}
		again.Stop()
	}
}

// full tells whether there is no room, and none to be made.
func (r *Room) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes < r.limit {
		return false
	}
	now := time.Now()
	for w := range r.waits {
		if w.sheddable(now, r.grace) {
			return false
		}
	}
	return true
}

// Shed ends the wait that is first to go, however young, if there is one that the
// client is to end. Where something else than bytes is short, it makes room.
func (r *Room) Shed() bool {
	r.mu.Lock()
	all := r.sheddable(time.Now(), 0)
	if len(all) > 0 {
		all = all[:1]
		r.remove(all[0])
	}
	r.mu.Unlock()
	endAll(all)
	return len(all) > 0
}

// Bytes is what all waits cost.
func (r *Room) Bytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

func (r *Room) remove(w *Wait) {
	if _, ok := r.waits[w]; !ok {
		return
	}
	delete(r.waits, w)
	r.bytes -= w.bytes
	w.late.Stop()
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

func (w *Wait) endWith(err error) {
	if w.Done() {
		w.end(err)
	}
}

// shed takes out waits until there is room again, and an eighth to spare, so
// that it is done seldom. The caller holds r.mu, and ends them when it no longer
// does.
func (r *Room) shed(now time.Time) (out []*Wait) {
	grace := r.grace
	switch {
	case r.bytes > 2*r.limit:
		grace = 0
	case r.bytes <= r.limit || now.Before(r.again):
		return nil
	}
	for _, w := range r.sheddable(now, grace) {
		if r.bytes <= r.limit-r.limit/8 {
			break
		}
		r.remove(w)
		out = append(out, w)
	}
	if r.bytes > r.limit && r.retry == nil {
		// All others are young. To look again for each that comes would cost
		// much in a storm, and when nobody comes, somebody must.
		pause := max(r.grace/8, time.Millisecond)
		r.again = now.Add(pause)
		r.retry = time.AfterFunc(pause, r.lookAgain)
	}
	return out
}

func (r *Room) lookAgain() {
	r.mu.Lock()
	r.retry, r.again = nil, time.Time{}
	tooMany := r.shed(time.Now())
	r.mu.Unlock()
	endAll(tooMany)
}

// sheddable are the waits that may be ended, first first: of the address that
// costs most, and there of what costs most for longest.
func (r *Room) sheddable(now time.Time, grace time.Duration) []*Wait {
	cost := map[netip.Addr]int{}
	var all []*Wait
	for w := range r.waits {
		cost[w.addr] += w.bytes
		if w.sheddable(now, grace) {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *Wait) int {
		if a.addr != b.addr {
			return cmp.Or(cmp.Compare(cost[b.addr], cost[a.addr]), a.addr.Compare(b.addr))
		}
		return cmp.Compare(b.weight(now), a.weight(now))
	})
	return all
}

// sheddable tells whether the client has kept the server waiting for so long. One that
// turns out to have spoken begins anew, so that it is not asked for all the time.
func (w *Wait) sheddable(now time.Time, grace time.Duration) bool {
	switch {
	case w.silent.IsZero() || now.Sub(w.silent) < grace:
		return false
	case grace > 0 && w.spoken != nil && w.spoken():
		w.silent = now
		return false
	}
	return true
}

func (w *Wait) weight(now time.Time) float64 {
	return float64(w.bytes) * now.Sub(w.since).Seconds()
}

func endAll(waits []*Wait) {
	for _, w := range waits {
		w.end(ErrShort)
	}
}
