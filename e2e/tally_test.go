package e2e

import (
	"fmt"
	"strings"
	"time"

	"wasmxds/e2e/harness"
)

// tally is what came of changes of one kind, or of all.
type tally struct {
	changes    int
	took       []time.Duration // from the write of each to the last answer to a request that did not meet it
	soon       time.Duration   // how long after the status told that a filter runs requests still passed without it
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
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	s := fmt.Sprintf("%d changes, on all connections after %v (p50), %v (max), %v after filters were said to run, on %d never; ",
		c.changes, ms(harness.Quantile(c.took, 0.5)), ms(harness.Quantile(c.took, 1)), ms(c.soon), c.never)
	s += fmt.Sprintf("%d requests: %d failed, %d unfiltered, %d as before, %d in a wrong order; %d connections closed",
		c.requests, c.failed, c.unfiltered, c.late, c.misordered, c.closed)
	if len(c.such) > 0 {
		s += "\n\t" + strings.Join(c.such, "\n\t")
	}
	return s
}

// add counts a request, as of a set.
func (c *tally) add(v verdict, s set, r harness.Exchange) {
	switch v {
	case right:
		return
	case failed:
		c.failed++
	case unfiltered:
		c.unfiltered++
	case late:
		c.late++
	case misordered:
		c.misordered++
	}
	c.note("%v, of %q: %v", v, s.chain, r)
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

// counts are those of requests, with a connection that was closed for one.
func (all tallies) counts() (c harness.Counts) {
	for _, n := range all {
		c.Requests += n.requests
		c.Failed += n.failed + n.closed
		c.Unfiltered += n.unfiltered + n.late + n.misordered
	}
	return c
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
	took := make([]time.Duration, len(k.history))
	for _, load := range k.loads {
		last := make([]map[int]bool, len(k.history)) // by client, whether its last request met the set
		for i := range last {
			last[i] = map[int]bool{}
		}
		for _, r := range load.Exchanges(0) {
			i := at(r.Answered)
			s := k.history[i]
			c := all[s.change]
			c.requests++
			if !s.told.IsZero() && r.Err == nil && !within(s.chain, r.Chain) {
				c.soon = max(c.soon, r.Began.Sub(s.told))
			}
			if r.Err == nil && !r.Long {
				met := s.met(r)
				if !met {
					took[i] = max(took[i], r.Answered.Sub(s.written))
				}
				last[i][r.Client] = met
			}
			c.add(k.history.judge(r), s, r)
		}
		for i, s := range k.history {
			c := all[s.change]
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
	for i, s := range k.history {
		all[s.change].took = append(all[s.change].took, took[i])
	}
	return all
}
