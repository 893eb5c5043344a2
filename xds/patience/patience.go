// Package patience limits what is held for clients that keep a server waiting: connections
// without a request, streams without a first message, incomplete messages.
//
// Start with [New]. Each of these is a [Wait] with a cost in bytes. A wait has a deadline.
// If all together cost too much, the costliest and oldest waits of the address that costs
// most are ended, so that others get their turn; nothing blocks for that. The package is
// safe for concurrent use.
package patience

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Errors with which a wait ends.
var (
	ErrLate  = errors.New("what was begun did not come to its end in time")
	ErrShort = errors.New("too much is waited for, and this has taken longest")
)

// Room contains waits.
type Room struct {
	limit int           // bytes of all waits
	grace time.Duration // a wait that has lasted for less is only ended by its deadline

	mu    sync.Mutex
	waits map[*Wait]struct{}
	bytes int
	again time.Time   // until then, there is nothing to end
	retry *time.Timer // fires at again; nil: not running

	freed chan struct{} // holds a token when a wait has ended
}

// New returns a Room for waits that cost limit bytes in total. Up to twice that, a wait is
// not ended in favor of others before the client has kept it waiting for grace: that is how
// long an honest client may be silent on a slow network.
func New(limit int, grace time.Duration) *Room {
	return &Room{limit: limit, grace: grace, waits: map[*Wait]struct{}{}, freed: make(chan struct{}, 1)}
}

// Wait is a wait for a client. Its methods do nothing once it has ended.
type Wait struct {
	room  *Room
	addr  netip.Addr
	since time.Time
	end   func(error)
	late  *time.Timer

	// Guarded by room.mu.
	bytes  int
	silent time.Time // since when the server waits for the client; zero: it does not
	spoken func() bool
}

// Begin begins a wait for the client at addr. If it lasts too long, or costs too much, end
// is called, once, on any goroutine. end must not block.
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

// network returns what an address is counted by: with IPv6, a machine has a whole /64.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Grow adds to the cost of the wait.
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

// Unless protects the wait from being ended in favor of others, below twice the limit,
// while spoken reports that the client has sent something that was not read yet. spoken
// must not block.
func (w *Wait) Unless(spoken func() bool) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.spoken = spoken
}

// Ours records that the client waits for the server: the wait is not ended in favor of
// others until [Wait.Theirs].
func (w *Wait) Ours() { w.turn(time.Time{}) }

// Theirs records that the server waits for the client again.
func (w *Wait) Theirs() { w.turn(time.Now()) }

func (w *Wait) turn(silent time.Time) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.silent = silent
}

// Done ends the wait, because what was waited for has arrived, or is no longer needed. It
// reports whether the wait was still in progress.
func (w *Wait) Done() bool {
	r := w.room
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.waits[w]
	r.remove(w)
	return ok
}

// Await returns when there is room for another wait, or ending one that has lasted for long
// enough would make room, but after grace at the latest. Callers that can wait at no cost
// should call it first: a slow client in the kernel's queue has time to send something
// before a wait begins here. It must not be called concurrently.
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

// full reports whether there is no room, and none can be made.
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

// Shed ends the wait that would be ended first, however young it is, if any wait is for a
// client. It makes room when something other than bytes is scarce.
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

// Bytes returns the cost of all waits.
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

// shed removes waits until there is room again, with one eighth to spare, so that it runs
// rarely. The caller holds r.mu, and must end the returned waits after releasing it.
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
		// All others are young. Checking again for each new wait would be expensive in a
		// storm, but a check must follow even without new waits.
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

// sheddable returns the waits that may be ended, in order: by the cost of their address,
// then by their own cost and age.
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

// sheddable reports whether the client has kept the server waiting for grace. A client that
// has sent something starts anew, so that this is not checked all the time.
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
