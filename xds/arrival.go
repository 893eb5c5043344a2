package xds

import (
	"log/slog"
	"sync"
	"time"
)

// arrival logs when a publication is on every connected Envoy that it is for. Publications
// that follow before that count as the same round.
type arrival struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	round  int           // incremented when a new round begins
	since  time.Time     // first publication of the round
	behind int           // Envoys that lack it, plus fan-outs in progress
	count  [outcomes]int // outcomes on Envoys that were behind
}

// outcome is the outcome of a publication on an Envoy.
type outcome int

const (
	departed outcome = iota // disconnected before
	arrived
	rejected
	outcomes
)

// counted is the last outcome of a client, and its round.
type counted struct {
	round   int
	outcome outcome
}

// begin must be called before a fan-out, and the returned function after it.
func (a *arrival) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behind == 0 {
		a.round++
		a.since, a.count = a.now(), [outcomes]int{}
	}
	a.behind++
	return a.end
}

func (a *arrival) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behind--; a.behind > 0 || a.count[arrived] == 0 {
		return
	}
	after := a.now().Sub(a.since).Round(time.Millisecond)
	if n := a.count[rejected]; n > 0 {
		a.log.Warn("the change is on all Envoys that it is for, but some reject it", "envoys", a.count[arrived], "reject", n, "after", after)
		return
	}
	a.log.Info("the change is on all Envoys that it is for", "envoys", a.count[arrived], "after", after)
}

// await counts an Envoy that must receive something new.
func (a *arrival) await() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.behind++
}

// joins counts an Envoy that connects before the round is over.
func (a *arrival) joins() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behind == 0 {
		return false
	}
	a.behind++
	return true
}

// note counts the outcome of a client, once per round.
func (a *arrival) note(c *counted, o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.round == a.round {
		a.count[c.outcome]--
	}
	a.count[o]++
	*c = counted{a.round, o}
}

// arrives ends the wait for c. The caller holds c.mu.
func (s *Server) arrives(c *client, o outcome) {
	if !c.awaited {
		return
	}
	c.awaited = false
	s.arrival.note(&c.counted, o)
	s.arrival.end()
}
