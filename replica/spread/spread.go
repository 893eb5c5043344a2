// Package spread decides how many of its streams a replica closes, so that Envoys which
// know several replicas spread over them evenly. Without it, after a replica was away for a
// moment, all of its Envoys stay at the others.
//
// Start with [Spread]. It is a plain value: counts and time go in, a number comes out. No
// replica can decide where an Envoy goes, and what replicas know of each other is seconds
// old. Therefore several that close streams at once must neither flood one replica nor send
// Envoys back and forth. The tests simulate this.
package spread

import (
	"math"
	"time"
)

// Every is the interval at which Next must be called.
const Every = time.Second

const (
	// tolerated is how far replicas may be from an even share, as a part of it, and enough
	// how near to it they are brought once they are further away.
	tolerated, enough = 0.10, 0.03

	// slowly is the largest part of an even share that is closed per second, and most the
	// largest number of streams, whatever the share is.
	slowly = 1.0 / 15
	most   = 500

	// gently is the part of a replica's excess that it closes per second, because reports
	// of others are older than what it has done itself.
	gently = 1.0 / 10

	// lag is how old another replica's report may be when it is seen, plus the time that a
	// stream that was closed here takes to appear there.
	lag = 2 * time.Second

	// patience is how many shares are closed while the replicas that have too few gain
	// nothing. Then no more are closed for firstPause, and longer each time: Envoys may not
	// reach those replicas.
	patience   = 1
	firstPause = 2 * time.Minute
	lastPause  = time.Hour
)

// Other is another replica that lives and accepts streams.
type Other struct {
	Streams int       // as last reported
	At      time.Time // when that was seen
}

// Spread is what one replica has done recently. The zero value has done nothing.
type Spread struct {
	closing bool
	closed  []count // oldest first
	had     []count // streams at each call of Next, oldest first

	filled float64 // streams of the others up to their shares, when this was last seen to grow
	spent  int     // streams that were closed since
	pause  time.Duration
	until  time.Time // until then, nothing is closed
}

type count struct {
	at      time.Time
	streams int
}

// remembered is how long closed streams are remembered. A replica that reports nothing for
// that long is dead.
const remembered = time.Minute

// Next returns how many streams to close now. own is the number that this replica has, and
// others are the other replicas that live and accept streams.
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
	n := float64(excess) * gently * float64(len(others)) // of the streams that are closed, only one in len(others) goes to where fewest are
	return int(math.Ceil(min(n, share*slowly, most)))
}

// Closed records how many streams were closed.
func (s *Spread) Closed(now time.Time, streams int) {
	s.closed = since(s.closed, now.Add(-remembered))
	if streams > 0 {
		s.spent += streams
		s.closed = append(s.closed, count{now, streams})
	}
}

// surges reports whether many streams have come here since some other replica was last
// heard. They came either from one that has just died, whose streams are now counted twice,
// or when others that have not reported yet gained many as well.
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

// look checks whether closed streams have arrived where there are too few.
func (s *Spread) look(others []Other, share float64) {
	filled := 0.0
	for _, o := range others {
		filled += min(float64(o.Streams), share)
	}
	switch {
	case filled > s.filled+max(0.5, share*enough):
		s.filled, s.spent, s.pause = filled, 0, 0
	case filled < s.filled-share*tolerated: // another replica has fewer now
		s.filled = filled
	}
}

// since returns the counts after then.
func since(counts []count, then time.Time) []count {
	for len(counts) > 0 && !counts[0].at.After(then) {
		counts = counts[1:]
	}
	return counts
}

// Share returns the number of streams of each replica if all had the same number.
func Share(own int, others []Other) float64 {
	all := own
	for _, o := range others {
		all += o.Streams
	}
	return float64(all) / float64(len(others)+1)
}
