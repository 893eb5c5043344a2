package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// chained is an Envoy whose filters, their order and whose route change.
type chained interface {
	// apply writes a set.
	apply(s set) time.Time
	// says asks whoever serves the Envoy for its status: whether it tells that the
	// Envoy runs the filters of the set, these alone, and whether all is in place.
	says(s *set) (filters, all bool, err error)
	// settle is for how long all must be in place before that counts.
	settle() time.Duration
	// listeners are what connections are opened to.
	listeners() []string
	upstreams() [2]string
	envoy() *edge
}

// kept are connections to an Envoy that stay open while its filters and routes
// change.
type kept struct {
	t       *testing.T
	subject chained
	loads   []*harness.Connections
	history history
	// give up a change that does not hold on all connections after this; 0: the
	// test fails where it does not in good time.
	giveUp time.Duration
}

// chainHeader is what each filter adds its name to.
const chainHeader = "X-Chain"

// keep starts with a set in place, and so many connections, half of them HTTP/2.
func keep(t *testing.T, subject chained, connections int) *kept {
	t.Helper()
	k := &kept{t: t, subject: subject}
	k.history = history{k.first()}
	for _, name := range subject.listeners() {
		n := connections / len(subject.listeners())
		c := harness.OpenConnections(subject.envoy().f.ctx, harness.ConnectionsConfig{
			Address: subject.envoy().address(name), Header: chainHeader, HTTP1: n/2 - n/20, HTTP2: n/2 - n/20, Long: n / 20})
		t.Cleanup(c.Stop)
		k.loads = append(k.loads, c)
	}
	k.holds(&k.history[0])
	return k
}

// first is what all starts with.
func (k *kept) first() set {
	return set{chain: []string{"a", "b", "c"}, upstream: k.subject.upstreams()[0]}
}

// The kinds of changes.
const (
	added     = "a filter added"
	moved     = "a filter moved"
	rerouted  = "a route changed"
	removed   = "a filter removed"
	addedWith = "a filter and its route added"
	goneWith  = "a filter and its route removed"
	crowded   = "a filter added for which no spare slot is left"
)

var changeKinds = []string{added, moved, rerouted, removed, addedWith, goneWith, crowded}

// cycle gives a change of each kind but the last. After two cycles all is as it
// was.
func (k *kept) cycle(i int) []set {
	up := k.subject.upstreams()
	here, there := up[0], up[1]
	if k.history[len(k.history)-1].upstream == there {
		here, there = there, here
	}
	now := []string{"a", "b", "c"}
	then := [][]string{{"b", "c", "a"}, {"a", "c", "b"}, {"c", "b", "a"}}[i/2%3]
	if i%2 == 1 {
		now, then = then, now
	}
	with := func(chain []string, name string) []string { // at any of its places in turn
		return slices.Insert(slices.Clone(chain), i%(len(chain)+1), name)
	}
	return []set{
		{change: added, chain: with(now, "x"), upstream: here},
		{change: moved, chain: with(then, "x"), upstream: here},
		{change: rerouted, chain: with(then, "x"), upstream: there},
		{change: removed, chain: then, upstream: there},
		{change: addedWith, chain: with(then, "y"), upstream: here},
		{change: goneWith, chain: then, upstream: there},
	}
}

// change writes a set, does what is to happen meanwhile, and waits until the set
// holds on all connections.
func (k *kept) change(s set, meanwhile func(written time.Time)) {
	k.t.Helper()
	s.written = time.Now() // not later than when it can be seen
	k.history = append(k.history, s)
	written := k.subject.apply(s)
	if meanwhile != nil {
		meanwhile(written)
	}
	k.holds(&k.history[len(k.history)-1])
}

// holds waits until the status says that the set is in place, as status --wait
// does, and then for a request on each connection that meets it.
func (k *kept) holds(s *set) {
	k.t.Helper()
	end := time.Now().Add(patience)
	if k.giveUp > 0 {
		end = time.Now().Add(k.giveUp)
	}
	wait := func(check func() error) {
		k.t.Helper()
		if err := harness.Poll(k.t.Context(), time.Until(end), check); err != nil && k.giveUp == 0 {
			k.t.Error(k.tally())
			k.t.Fatalf("%s: %v", s.change, err)
		}
	}
	var since time.Time
	wait(func() error {
		filters, all, err := k.subject.says(s)
		now := time.Now()
		if filters && s.told.IsZero() {
			s.told = now
		}
		switch {
		case err != nil:
			return err
		case !filters || !all:
			since = time.Time{}
			return fmt.Errorf("the status has all filters running: %v, and all else: %v", filters, all)
		case since.IsZero():
			since = now
		}
		if left := k.subject.settle() - now.Sub(since); left > 0 {
			return fmt.Errorf("it has been so for %v", now.Sub(since))
		}
		s.runs = now
		return nil
	})
	wait(func() error {
		for _, l := range k.loads {
			for _, r := range l.Latest() {
				if r.Began.Before(s.runs) || !s.met(r) {
					return fmt.Errorf("the newest request is %v", r)
				}
			}
		}
		return nil
	})
}

// met tells whether a request met just this set.
func (s set) met(r harness.Exchange) bool {
	return slices.Equal(r.Chain, s.chain) && r.Upstream == s.upstream
}

// stop ends the requests and says what came of them.
func (k *kept) stop() tallies {
	for _, l := range k.loads {
		l.Stop()
	}
	return k.tally()
}
