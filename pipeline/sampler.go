package pipeline

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// sampler makes Envoys report as many requests as are necessary to judge a
// change, whatever their load: if there are few Envoys, each reports more.
type sampler struct {
	watched func() []string // Envoys that must report
	// sample sets the rate of an Envoy, per million requests, and returns the
	// effective rate.
	sample  func(node string, perMillion uint32) uint32
	changed chan struct{} // holds a token while the result of watched may have changed

	mu    sync.Mutex
	told  map[string]int // samples since the rates were last adjusted
	rates map[string]uint32
}

const (
	samplesPerSecond = 10_000  // of all Envoys together, approximately
	samplesOfOne     = 1000    // of one Envoy per second, approximately
	firstRate        = 100_000 // per million: the load of the Envoy is not known yet
	allRequests      = 1_000_000
	lookAtRates      = 3 * time.Second
)

func newSampler(watched func() []string, sample func(string, uint32) uint32) *sampler {
	return &sampler{watched: watched, sample: sample, changed: make(chan struct{}, 1), told: map[string]int{}, rates: map[string]uint32{}}
}

// poke signals that the watched Envoys have changed. It never blocks.
func (s *sampler) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// sampled counts the samples of an Envoy.
func (s *sampler) sampled(node string, samples int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rates[node] > 0 {
		s.told[node] += samples
	}
}

// sampling reports whether an Envoy must report.
func (s *sampler) sampling(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rates[node] > 0
}

// current returns the rates of all Envoys that must report.
func (s *sampler) current() map[string]uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rates)
}

// run updates the watched Envoys and adjusts their rates until ctx ends.
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

// look sets the rates of Envoys that are new, or no longer watched. If adapt is
// set, it also adjusts those of Envoys that report too much or too little.
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

// next returns the rates that must change.
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
			rate /= 3 // one step down in the list of rates
		case 4*told < enough:
			rate = min(4*rate, allRequests) // one step up
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
