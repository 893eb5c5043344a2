package pipeline

import (
	"math/rand/v2"
	"sync"

	"wasmxds/resource"
	"wasmxds/signal"
)

// rates are of how many of a million requests each Envoy is to tell: so many as it takes
// to judge a change, or all while its requests are recorded.
type rates struct {
	tell func(node string, perMillion uint32)
	// telling is held while Envoys are told, so that what one is told last is what holds.
	// mu is not held meanwhile: tell steps the node's streams, and all access logs need mu.
	telling sync.Mutex

	mu     sync.Mutex
	judged map[string]uint32
	all    map[string]bool // their requests are recorded
}

func newRates(tell func(node string, perMillion uint32)) *rates {
	return &rates{tell: tell, judged: map[string]uint32{}, all: map[string]bool{}}
}

// judge has an Envoy tell of so many requests to be judged by, and gives the rate that
// there is.
func (r *rates) judge(node string, perMillion uint32) uint32 {
	rate := resource.SamplingRate(perMillion)
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	if rate == 0 {
		delete(r.judged, node)
	} else {
		r.judged[node] = rate
	}
	all := r.all[node]
	r.mu.Unlock()
	if !all {
		r.tell(node, rate)
	}
	return rate
}

// judging is the rate by which an Envoy is judged.
func (r *rates) judging(node string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.judged[node]
}

// record has an Envoy tell of all requests, or no more.
func (r *rates) record(node string, on bool) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	rate := uint32(allRequests)
	if on {
		r.all[node] = true
	} else {
		delete(r.all, node)
		rate = r.judged[node]
	}
	r.mu.Unlock()
	r.tell(node, rate)
}

// fair are the samples that an Envoy is judged by: as many as it would tell if it were
// not recorded.
func (r *rates) fair(node string, samples []signal.Sample) []signal.Sample {
	r.mu.Lock()
	rate, all := r.judged[node], r.all[node]
	r.mu.Unlock()
	if !all {
		return samples
	}
	var some []signal.Sample
	for _, s := range samples {
		if rand.Uint32N(allRequests) < rate {
			some = append(some, s)
		}
	}
	return some
}
