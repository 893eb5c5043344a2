package relay

import (
	"sync"
	"time"

	"wasmxds/signal"
)

// Leader takes what Envoys tell all servers. It is what a judge asks: what this
// server is told itself goes into its counts.
type Leader struct {
	*signal.Counts
	// sampled is told of how many requests an Envoy told another server.
	sampled func(node string, samples int)

	mu      sync.Mutex
	servers map[string]*heard // that were asked
	deaf    time.Time         // until then silence means nothing
}

// heard is what is known of another server.
type heard struct {
	seq uint64    // of the newest answer
	at  time.Time // when that came; zero: it has not answered yet
}

// NewLeader makes one that keeps what is told in counts.
func NewLeader(counts *signal.Counts, sampled func(node string, samples int)) *Leader {
	return &Leader{Counts: counts, sampled: sampled, servers: map[string]*heard{}}
}

// Asks says who is to be asked of these servers, which are all that live, and notes
// which of them are not heard.
func (l *Leader) Asks(now time.Time, term uint64, rates map[string]uint32, servers []string) map[string]Ask {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, asks := l.servers, map[string]Ask{}
	l.servers = map[string]*heard{}
	for _, id := range servers {
		s := before[id]
		if s == nil {
			s = &heard{}
		}
		l.servers[id] = s
		if now.Sub(s.at) >= lost {
			l.deaf = now.Add(backFor)
		}
		asks[id] = Ask{Term: term, Now: now, Seq: s.seq, Rates: rates}
	}
	return asks
}

// Deaf says that other servers are not heard: this one does not lead.
func (l *Leader) Deaf(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = now.Add(backFor)
}

// Take takes what a server has answered.
func (l *Leader) Take(now time.Time, id string, a Answer) {
	l.mu.Lock()
	s := l.servers[id]
	if s == nil || a.Seq != s.seq+1 {
		l.mu.Unlock()
		return // it was asked for something else
	}
	s.seq, s.at = a.Seq, now
	l.mu.Unlock()
	for node, n := range a.Samples {
		l.sampled(node, max(n, 0))
	}
	for node, b := range a.Blocks {
		blocks, err := signal.ReadBlocks(b, mostBlocks)
		if err != nil {
			continue // it is not heard of that Envoy
		}
		var whole []signal.Block
		for _, b := range blocks {
			// Of what a clock that was set tells wrong there is nothing to be learnt.
			if age := now.Sub(b.Start); age >= 0 && age < 2*(lease+lost) {
				whole = append(whole, b)
			}
		}
		l.AddBlocks(node, whole)
	}
}

// Envoy gives what an Envoy has told all servers by now. While one of them is not
// heard, and for a while after, it is as if the Envoy were away: it may have told that
// one of its requests.
func (l *Leader) Envoy(node string, now time.Time) signal.Envoy {
	e := l.Counts.Envoy(node, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Away = now.Before(l.deaf)
	return e
}
