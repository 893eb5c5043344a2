package pipeline

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// sampler has Envoys tell of so many of their requests as it takes to judge a
// change, whatever they have to do: each of few tells of more than each of many.
type sampler struct {
	watched func() []string // Envoys that are to tell
	// sample has an Envoy tell of so many of a million requests, and gives the
	// rate that it is told.
	sample  func(node string, perMillion uint32) uint32
	changed chan struct{} // holds a token while watched may give others

	mu    sync.Mutex
	told  map[string]int // samples since the rate was looked at
	rates map[string]uint32
}

const (
	samplesPerSecond = 10_000  // of all Envoys together, about
	samplesOfOne     = 1000    // a second, and about
	firstRate        = 100_000 // of a million: what an Envoy has to do is not known yet
	allRequests      = 1_000_000
	lookAtRates      = 3 * time.Second
)

func newSampler(watched func() []string, sample func(string, uint32) uint32) *sampler {
	return &sampler{watched: watched, sample: sample, changed: make(chan struct{}, 1), told: map[string]int{}, rates: map[string]uint32{}}
}

// poke says that others are watched. It never waits.
func (s *sampler) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// sampled counts how much an Envoy told.
func (s *sampler) sampled(node string, samples int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rates[node] > 0 {
		s.told[node] += samples
	}
}

// sampling tells whether an Envoy is to tell.
func (s *sampler) sampling(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rates[node] > 0
}

// current are the rates of those that are to tell.
func (s *sampler) current() map[string]uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rates)
}

// run looks at who is to tell, and how much they do, until ctx ends.
func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(lookAtRates)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
			s.look(false)
		case <-tick.C:
			s.look(true)
		}
	}
}

// look sets rates: of Envoys that are new, or not watched any more, and, if it is
// time for that, of those that tell too much or too little.
func (s *sampler) look(adapt bool) {
	watched := s.watched()
	for node, rate := range s.next(watched, adapt) {
		told := s.sample(node, rate) // not under the lock: it steps the node's streams
		s.mu.Lock()
		if s.rates[node] > 0 {
			s.rates[node] = told
		}
		s.mu.Unlock()
	}
}

// next gives the rates that are to be others.
func (s *sampler) next(watched []string, adapt bool) map[string]uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := map[string]uint32{}
	for node := range s.rates {
		if !slices.Contains(watched, node) {
			others[node] = 0
			delete(s.rates, node)
		}
	}
	enough := min(samplesOfOne, samplesPerSecond/max(1, len(watched))) * int(lookAtRates.Seconds())
	for _, node := range watched {
		rate, told := s.rates[node], s.told[node]
		switch {
		case rate == 0:
			rate = firstRate
		case !adapt:
		case told > enough:
			rate /= 3 // a step down, as rates are
		case 4*told < enough:
			rate = min(4*rate, allRequests) // a step up
		}
		if rate != s.rates[node] {
			others[node], s.rates[node] = rate, rate
		}
	}
	if adapt {
		clear(s.told)
	}
	return others
}
