// Package spread decides how many of its streams a server closes, so that Envoys which
// know several servers of one state spread over them evenly: after one was away for a
// moment, all of its Envoys are at the others, and stay there by themselves.
//
// Start with [Spread]. It is a plain value: counts and time go in, a number comes out.
// No server can say where an Envoy goes, so several closing at once must neither flood
// one nor send Envoys back and forth; and what servers know of each other is seconds
// old. The tests simulate just that.
package spread

import (
	"math"
	"time"
)

// Every is how often a Spread is to be asked.
const Every = time.Second

const (
	// tolerated is by how much of an even share servers may differ from it, and enough
	// how near they are brought once they differ by more.
	tolerated, enough = 0.10, 0.03

	// slowly is what part of an even share is closed at most in a second, and most how
	// many streams whatever the share is.
	slowly = 1.0 / 15
	most   = 500

	// gently is what part of what a server has too much goes in a second: what others
	// tell is older than what it has done itself.
	gently = 1.0 / 10

	// lag is how old what another server tells may be when it is seen, with the time
	// that a stream takes to be there that was closed here.
	lag = 2 * time.Second

	// patience is how many shares are closed while servers that have too few have no
	// more for it. Then they are left alone, for firstPause and ever longer: Envoys may
	// not reach them.
	patience   = 1
	firstPause = 2 * time.Minute
	lastPause  = time.Hour
)

// Other is another server that lives and takes streams.
type Other struct {
	Streams int       // as it told last
	At      time.Time // when that was seen
}

// Spread is what one server has done of late. The zero value is one that has done
// nothing.
type Spread struct {
	closing bool
	closed  []count // oldest first
	had     []count // likewise, at each look

	filled float64 // of the shares of others, when that was last seen to be more
	spent  int     // streams that were closed since
	pause  time.Duration
	until  time.Time // nothing is closed
}

type count struct {
	at      time.Time
	streams int
}

// remembered is for how long what was closed may count. Who tells nothing for that long
// does not live.
const remembered = time.Minute

// Next gives how many streams to close now, of so many that the server has. The others
// are those that live and take streams.
func (s *Spread) Next(now time.Time, own int, others []Other) int {
	s.had = append(since(s.had, now.Add(-remembered)), count{now, own})
	if len(others) == 0 {
		s.closing = false
		return 0
	}
	all, least := float64(own), math.Inf(1)
	for _, o := range others {
		n := float64(o.Streams)
		for _, c := range since(s.closed, o.At.Add(-lag)) {
			n += float64(c.streams) / float64(len(others))
		}
		all += n
		least = min(least, n)
	}
	share := all / float64(len(others)+1)
	near := enough
	if !s.closing {
		near = tolerated
	}
	excess := own - int(math.Ceil(share))
	s.look(others, share)
	if float64(s.spent) > patience*share+most/100 {
		s.pause = min(max(2*s.pause, firstPause), lastPause)
		s.until, s.spent = now.Add(s.pause), 0
	}
	if s.surges(own, others, share) {
		return 0
	}
	s.closing = excess > 0 && !now.Before(s.until) && float64(own)-least >= 2 && (float64(own) > share*(1+near) || least < share*(1-near))
	if !s.closing {
		return 0
	}
	n := float64(excess) * gently * float64(len(others)) // as of those that are closed only one in so many goes where fewest are
	return int(math.Ceil(min(n, share*slowly, most)))
}

// Closed notes what was closed.
func (s *Spread) Closed(now time.Time, streams int) {
	s.closed = since(s.closed, now.Add(-remembered))
	if streams > 0 {
		s.spent += streams
		s.closed = append(s.closed, count{now, streams})
	}
}

// surges says whether many have come here since some other server was heard: one that
// has just died, whose streams count twice by now, or one that has not told yet that
// many came to it as well.
func (s *Spread) surges(own int, others []Other, share float64) bool {
	heard := others[0].At
	for _, o := range others {
		if o.At.Before(heard) {
			heard = o.At
		}
	}
	for _, h := range since(s.had, heard.Add(-lag)) {
		if float64(own-h.streams) > share*tolerated {
			return true
		}
	}
	return false
}

// look sees whether what was closed has come to where there are too few.
func (s *Spread) look(others []Other, share float64) {
	filled := 0.0
	for _, o := range others {
		filled += min(float64(o.Streams), share)
	}
	switch {
	case filled > s.filled+max(0.5, share*enough):
		s.filled, s.spent, s.pause = filled, 0, 0
	case filled < s.filled-share*tolerated: // another has fewer by now
		s.filled = filled
	}
}

// since are the counts since then.
func since(counts []count, then time.Time) []count {
	for len(counts) > 0 && !counts[0].at.After(then) {
		counts = counts[1:]
	}
	return counts
}

// Share is what each server has when all have the same.
func Share(own int, others []Other) float64 {
	all := own
	for _, o := range others {
		all += o.Streams
	}
	return float64(all) / float64(len(others)+1)
}
