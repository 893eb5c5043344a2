package relay

import (
	"maps"
	"slices"
	"sync"
	"time"

	"wasmxds/signal"
)

// Follower collects signals of Envoys on a replica that does not lead.
type Follower struct {
	// sample sets how many of a million requests an Envoy reports; 0: none.
	sample func(node string, perMillion uint32)

	mu      sync.Mutex
	term    uint64
	asked   time.Time // when the last Ask came
	rates   map[string]uint32
	counts  *signal.Counts // by the leader's clock
	samples map[string]int
	ahead   []time.Duration // offset of the leader's clock, by each of the last Asks
	under   Answer          // the last answer, which may have been lost
}

// NewFollower returns a Follower, which calls sample to set sampling rates.
func NewFollower(sample func(node string, perMillion uint32)) *Follower {
	f := &Follower{sample: sample}
	f.forget()
	return f
}

// forget removes all signals. The caller holds f.mu.
func (f *Follower) forget() {
	f.counts, f.samples, f.ahead, f.under = signal.NewCounts(), map[string]int{}, nil, Answer{}
}

// Asked answers an Ask of the leader.
func (f *Follower) Asked(now time.Time, a Ask) (Answer, error) {
	if len(a.Rates) > signal.MaxWatched {
		return Answer{}, errAsk
	}
	f.mu.Lock()
	if a.Term < f.term {
		f.mu.Unlock()
		return Answer{}, ErrTerm
	}
	if a.Term > f.term || a.Seq == 0 {
		f.forget()
	}
	f.term, f.asked = a.Term, now
	f.hear(now, a.Now)
	answer := f.answer(now, a.Seq)
	off := f.watch(a.Rates)
	f.mu.Unlock()
	for _, node := range off {
		f.sample(node, 0)
	}
	for node, rate := range a.Rates {
		f.sample(node, rate)
	}
	return answer, nil
}

// answer returns the signals since the last answer that has reached the leader. The caller
// holds f.mu.
func (f *Follower) answer(now time.Time, taken uint64) Answer {
	if f.under.Seq == taken+1 {
		return f.under // that answer was lost
	}
	f.under = Answer{Seq: taken + 1, Samples: f.samples, Blocks: map[string][]byte{}}
	f.samples = map[string]int{}
	for node, blocks := range f.counts.Take(f.clock(now)) {
		f.under.Blocks[node] = signal.AppendBlocks(nil, blocks[max(0, len(blocks)-mostBlocks):])
	}
	return f.under
}

// hear records the leader's clock in an Ask. If it is far behind the estimate, a clock was
// set, and blocks in the future are dropped. The caller holds f.mu.
func (f *Follower) hear(now, theirs time.Time) {
	before := f.clock(now)
	f.ahead = append(f.ahead[max(0, len(f.ahead)+1-clocks):], theirs.Sub(now))
	if before.Sub(f.clock(now)) >= signal.BlockTime {
		f.counts = signal.NewCounts()
	}
}

// clock estimates the leader's clock. The caller holds f.mu.
func (f *Follower) clock(now time.Time) time.Time {
	if len(f.ahead) == 0 {
		return now
	}
	return now.Add(slices.Max(f.ahead))
}

// watch replaces the observed Envoys, and returns those that are no longer observed. The
// caller holds f.mu.
func (f *Follower) watch(rates map[string]uint32) (off []string) {
	for node := range f.rates {
		if _, is := rates[node]; !is {
			off = append(off, node)
			delete(f.samples, node)
		}
	}
	f.rates = rates
	f.counts.Watch(slices.Collect(maps.Keys(rates)), time.Time{})
	return off
}

// Watches reports whether an Envoy is observed.
func (f *Follower) Watches(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.rates[node]
	return is
}

// Add adds samples that arrived at a time.
func (f *Follower) Add(node string, at time.Time, samples []signal.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is := f.rates[node]; is {
		f.samples[node] += len(samples)
		f.counts.Add(node, f.clock(at), samples)
	}
}

// Expire ends all observation if there was no Ask for the time of a lease. Call it about
// once per second.
func (f *Follower) Expire(now time.Time) {
	f.mu.Lock()
	if len(f.rates) == 0 || now.Sub(f.asked) < lease {
		f.mu.Unlock()
		return
	}
	off := f.watch(nil)
	f.forget()
	f.mu.Unlock()
	for _, node := range off {
		f.sample(node, 0)
	}
}
