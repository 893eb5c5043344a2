package relay

import (
	"maps"
	"slices"
	"sync"
	"time"

	"wasmxds/signal"
)

// Follower takes what Envoys tell a server that does not lead.
type Follower struct {
	// sample has an Envoy tell of so many of a million requests; 0: of none.
	sample func(node string, perMillion uint32)

	mu      sync.Mutex
	term    uint64
	asked   time.Time // when it was, last
	rates   map[string]uint32
	counts  *signal.Counts // by the leader's clock
	samples map[string]int
	ahead   []time.Duration // the leader's clock, by each of the last Asks
	under   Answer          // that may not have reached the leader
}

// NewFollower makes one, which has Envoys tell of their requests by sample.
func NewFollower(sample func(node string, perMillion uint32)) *Follower {
	f := &Follower{sample: sample}
	f.forget()
	return f
}

// forget drops all that was told. The caller holds f.mu.
func (f *Follower) forget() {
	f.counts, f.samples, f.ahead, f.under = signal.NewCounts(), map[string]int{}, nil, Answer{}
}

// Asked answers the leader.
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

// answer gives what was told since the answer that has reached the leader. The caller
// holds f.mu.
func (f *Follower) answer(now time.Time, taken uint64) Answer {
	if f.under.Seq == taken+1 {
		return f.under // it was lost
	}
	f.under = Answer{Seq: taken + 1, Samples: f.samples, Blocks: map[string][]byte{}}
	f.samples = map[string]int{}
	for node, blocks := range f.counts.Take(f.clock(now)) {
		f.under.Blocks[node] = signal.AppendBlocks(nil, blocks[max(0, len(blocks)-mostBlocks):])
	}
	return f.under
}

// hear notes what the leader's clock tells. Where it is far behind what was thought, a
// clock was set, and blocks of a time to come are none. The caller holds f.mu.
func (f *Follower) hear(now, theirs time.Time) {
	before := f.clock(now)
	f.ahead = append(f.ahead[max(0, len(f.ahead)+1-clocks):], theirs.Sub(now))
	if before.Sub(f.clock(now)) >= signal.BlockTime {
		f.counts = signal.NewCounts()
	}
}

// clock is the leader's clock. The caller holds f.mu.
func (f *Follower) clock(now time.Time) time.Time {
	if len(f.ahead) == 0 {
		return now
	}
	return now.Add(slices.Max(f.ahead))
}

// watch makes these the Envoys that are looked at, and gives those that are not any
// more. The caller holds f.mu.
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

// Watches says whether an Envoy is looked at.
func (f *Follower) Watches(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.rates[node]
	return is
}

// Add adds samples that came in at a time.
func (f *Follower) Add(node string, at time.Time, samples []signal.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is := f.rates[node]; is {
		f.samples[node] += len(samples)
		f.counts.Add(node, f.clock(at), samples)
	}
}

// Expire has it look at nobody any more where it has not been asked for long. It is
// to be called about once a second.
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
