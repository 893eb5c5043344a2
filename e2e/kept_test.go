package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// chained is an Envoy whose filters, their order and whose route change.
type chained interface {
	// apply writes a set.
	apply(s set) time.Time
	// running is nil once whoever serves the Envoy says that all of the set is
	// in place.
	running() error
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
)

var changeKinds = []string{added, moved, rerouted, removed, addedWith, goneWith}

// cycle gives a change of each kind. After two of them all is as it was, so that
// spares that were taken are free again.
func (k *kept) cycle(i int) []set {
	up := k.subject.upstreams()
	now := k.history[len(k.history)-1]
	var all []set
	then := func(change, upstream string, chain ...string) {
		all = append(all, set{change: change, chain: chain, upstream: upstream})
	}
	home := []string{"a", "b", "c"}
	away := append(slices.DeleteFunc(slices.Clone(home), func(s string) bool { return s == home[i/2%2] }), home[i/2%2])
	other, third := up[0], up[1]
	if now.upstream == up[0] {
		other, third = up[1], up[0]
	}
	if i%2 == 0 {
		then(added, now.upstream, slices.Concat([]string{"x"}, home)...)
		then(moved, now.upstream, slices.Concat([]string{"x"}, away)...)
		then(rerouted, other, slices.Concat([]string{"x"}, away)...)
		then(removed, other, away...)
		then(addedWith, third, slices.Concat([]string{"y"}, away)...)
		then(goneWith, other, away...)
		return all
	}
	then(added, now.upstream, slices.Concat(away, []string{"x"})...)
	then(moved, now.upstream, slices.Concat(home, []string{"x"})...)
	then(rerouted, other, slices.Concat(home, []string{"x"})...)
	then(removed, other, home...)
	then(addedWith, third, slices.Concat([]string{"y"}, home)...)
	then(goneWith, other, home...)
	return all
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

// holds waits until the status says that the set is in place, and then for a
// request on each connection that meets it.
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
	wait(func() error {
		if err := k.subject.running(); err != nil {
			return err
		}
		s.runs = time.Now()
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

// tally is what came of changes of one kind, or of all.
type tally struct {
	changes    int
	took       []time.Duration // from the write of each to the last answer to a request that did not meet it
	never      int             // connections on which that did not end as long as it was waited for
	requests   int
	closed     int // connections, by Envoy
	failed     int
	unfiltered int
	late       int
	misordered int
	such       []string // for people
}

// bad is how much went wrong.
func (c tally) bad() int { return c.closed + c.failed + c.unfiltered + c.late + c.misordered + c.never }

func (c tally) String() string {
	s := fmt.Sprintf("%d changes, held on all connections after %v (p50), %v (max), on %d not at all; %d requests, %d failed, %d unfiltered, %d through what was before, %d in a wrong order; %d connections closed",
		c.changes, harness.Quantile(c.took, 0.5).Round(time.Millisecond), harness.Quantile(c.took, 1).Round(time.Millisecond), c.never,
		c.requests, c.failed, c.unfiltered, c.late, c.misordered, c.closed)
	if len(c.such) > 0 {
		s += "\n\t" + strings.Join(c.such, "\n\t")
	}
	return s
}

func (c *tally) note(format string, args ...any) {
	if len(c.such) < 12 {
		c.such = append(c.such, fmt.Sprintf(format, args...))
	}
}

// tallies are by kind of change.
type tallies map[string]*tally

func (all tallies) String() string {
	var b strings.Builder
	for _, kind := range append([]string{""}, changeKinds...) {
		if c := all[kind]; c != nil {
			fmt.Fprintf(&b, "\n%s: %v", kind, c)
		}
	}
	return b.String()
}

func (all tallies) bad() (n int) {
	for _, c := range all {
		n += c.bad()
	}
	return n
}

// tally judges all requests and connections until now, each as of the newest
// change before it ended.
func (k *kept) tally() tallies {
	all := tallies{}
	for _, s := range k.history {
		if all[s.change] == nil {
			all[s.change] = &tally{}
		}
		all[s.change].changes++
	}
	at := func(t time.Time) int { // the change that was newest then
		i := 0
		for i+1 < len(k.history) && !k.history[i+1].written.After(t) {
			i++
		}
		return i
	}
	for _, load := range k.loads {
		took := make([]time.Duration, len(k.history))
		last := make([]map[int]bool, len(k.history)) // by client, whether its last request met the set
		for i := range last {
			last[i] = map[int]bool{}
		}
		for _, r := range load.Exchanges(0) {
			i := at(r.Answered)
			s := k.history[i]
			c := all[s.change]
			c.requests++
			if r.Err == nil && !r.Long {
				met := s.met(r)
				if !met {
					took[i] = max(took[i], r.Answered.Sub(s.written))
				}
				last[i][r.Client] = met
			}
			v := k.history.judge(r)
			switch v {
			case right:
				continue
			case failed:
				c.failed++
			case unfiltered:
				c.unfiltered++
			case late:
				c.late++
			case misordered:
				c.misordered++
			}
			c.note("%v of %q: %v", v, s.chain, r)
		}
		for i, s := range k.history {
			c := all[s.change]
			c.took = append(c.took, took[i])
			for _, met := range last[i] {
				if !met {
					c.never++
				}
			}
		}
		for i, conn := range load.Opened() {
			if !conn.Closed.IsZero() {
				c := all[k.history[at(conn.Closed)].change]
				c.closed++
				c.note("connection %d closed at %s: %s", i, conn.Closed.Format("15:04:05.000"), conn.Why)
			}
		}
	}
	return all
}

// stop ends the requests and says what came of them.
func (k *kept) stop() tallies {
	for _, l := range k.loads {
		l.Stop()
	}
	return k.tally()
}
