package relay

import (
	"sync"
	"time"

	"wasmxds/signal"
)

// Leader collects the signals from all replicas, for the judge. Signals that this replica
// itself receives go directly into its Counts.
type Leader struct {
	*signal.Counts
	// sampled is called with the number of requests that an Envoy has reported to another
	// replica.
	sampled func(node string, samples int)

	mu      sync.Mutex
	servers map[string]*heard // replicas that were asked
	deaf    time.Time         // until then, silence means nothing
}

// heard is the state of another replica.
type heard struct {
	seq uint64    // of the last answer
	at  time.Time // when that came; zero: none has come yet
}

// NewLeader returns a Leader that stores blocks in counts.
func NewLeader(counts *signal.Counts, sampled func(node string, samples int)) *Leader {
	return &Leader{Counts: counts, sampled: sampled, servers: map[string]*heard{}}
}

// Asks returns an Ask for each of servers, which are all other live replicas, and records
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

// Deaf records that other replicas are not heard, because this one does not lead.
func (l *Leader) Deaf(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = now.Add(backFor)
}

// Take processes the answer of a replica.
func (l *Leader) Take(now time.Time, id string, a Answer) {
	l.mu.Lock()
	s := l.servers[id]
	if s == nil || a.Seq != s.seq+1 {
		l.mu.Unlock()
		return // it answers another Ask
	}
	s.seq, s.at = a.Seq, now
	l.mu.Unlock()
	for node, n := range a.Samples {
		l.sampled(node, max(n, 0))
	}
	for node, b := range a.Blocks {
		blocks, err := signal.ReadBlocks(b, mostBlocks)
		if err != nil {
			continue // signals of that Envoy are lost
		}
		var whole []signal.Block
		for _, b := range blocks {
			// Blocks with a wrong time, from a clock that was set, are useless.
			if age := now.Sub(b.Start); age >= 0 && age < 2*(lease+lost) {
				whole = append(whole, b)
			}
		}
		l.AddBlocks(node, whole)
	}
}

// Envoy returns the signals of an Envoy from all replicas by now. While one of them is not
// heard, and for a while after, it returns the Envoy as away, because the missing replica
// may have its signals.
func (l *Leader) Envoy(node string, now time.Time) signal.Envoy {
	e := l.Counts.Envoy(node, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Away = now.Before(l.deaf)
	return e
}
