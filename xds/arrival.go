package xds

import (
	"log/slog"
	"sync"
	"time"
)

// arrival logs when what was published is on every connected Envoy that it is for.
// Publications that follow each other before that are one.
type arrival struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	round  int           // goes up when one is everywhere, and another begins
	since  time.Time     // of the first publication that is not everywhere
	behind int           // Envoys that lack it, and fan-outs that go on
	count  [outcomes]int // what became of it on Envoys that were behind
}

// outcome is what has become of a change on an Envoy.
type outcome int

const (
	departed outcome = iota // disconnected before
	arrived
	rejected
	outcomes
)

// counted is the newest outcome of a client, and in which round.
type counted struct {
	round   int
	outcome outcome
}

// begin is called before a fan-out, and what it returns after.
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

// await counts an Envoy that is to have something else than before.
func (a *arrival) await() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.behind++
}

// joins counts an Envoy that connects before all have what was published.
func (a *arrival) joins() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behind == 0 {
		return false
	}
	a.behind++
	return true
}

// note counts a client once for all publications of a round.
func (a *arrival) note(c *counted, o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.round == a.round {
		a.count[c.outcome]--
	}
	a.count[o]++
	*c = counted{a.round, o}
}

// arrives takes c off those that are awaited. The caller holds c.mu.
func (s *Server) arrives(c *client, o outcome) {
	if !c.awaited {
		return
	}
	c.awaited = false
	s.arrival.note(&c.counted, o)
	s.arrival.end()
}
