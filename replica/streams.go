package replica

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"wasmxds/replica/spread"
)

// Holder holds the streams of a replica's Envoys.
type Holder interface {
	Len() int           // the number of streams
	Move(most int) int  // closes some whose Envoys can go elsewhere, and returns how many
	Leave(most int) int // closes some because this replica is terminating
}

// Streams reports to other replicas how many streams this one has, and sends Envoys to
// those that have fewer. It is safe for concurrent use; create one by [NewStreams].
type Streams struct {
	registry *Registry
	holder   Holder
	log      *slog.Logger

	mu     sync.Mutex
	ready  bool // this replica has a snapshot for Envoys
	ends   bool
	spread spread.Spread
	share  float64
}

// NewStreams returns the Streams of a replica, which works while Run runs.
func NewStreams(r *Registry, h Holder, log *slog.Logger) *Streams {
	return &Streams{registry: r, holder: h, log: log}
}

// Ready records that the replica has a snapshot for Envoys.
func (s *Streams) Ready() {
	s.mu.Lock()
	s.ready = true
	takes := !s.ends
	s.mu.Unlock()
	s.tell(takes)
}

// tell reports to others at once whether Envoys may come here.
func (s *Streams) tell(takes bool) {
	n := s.holder.Len()
	s.registry.TellNow(func(own *Member) { own.Takes, own.Streams = takes, n })
}

// Run spreads streams until ctx ends.
func (s *Streams) Run(ctx context.Context) {
	tick := time.NewTicker(spread.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(time.Now())
		}
	}
}

// look reports how many streams there are, and closes some if necessary.
func (s *Streams) look(now time.Time) {
	n := s.holder.Len()
	s.registry.Tell(func(own *Member) { own.Streams = n })
	others := s.others()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share = spread.Share(n, others)
	if !s.ready || s.ends || s.registry.Twin() {
		return
	}
	most := s.spread.Next(now, n, others)
	if most == 0 {
		return
	}
	closed := s.holder.Move(most)
	s.spread.Closed(now, closed)
	if closed > 0 {
		s.log.Info("other replicas have fewer Envoys: closing streams so that some move there", "envoys", closed, "of", n, "share", int(s.share))
	}
}

// others returns the replicas that Envoys may go to.
func (s *Streams) others() []spread.Other {
	var all []spread.Other
	for _, h := range s.registry.Heard() {
		if h.Takes {
			all = append(all, spread.Other{Streams: h.Streams, At: h.At})
		}
	}
	return all
}

// Count returns how many streams each replica has, by ID, and how many each would have if
// all had the same number.
func (s *Streams) Count() (streams map[string]int, share float64) {
	streams = map[string]int{s.registry.ID(): s.holder.Len()}
	for _, h := range s.registry.Heard() {
		streams[h.ID] = h.Streams
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return streams, s.share
}

// leaveEvery is the interval at which a terminating replica closes streams.
const leaveEvery = 50 * time.Millisecond

// Leave sends Envoys to other replicas because this one is terminating, evenly within a
// duration, so that they do not all arrive at once. An Envoy that has nowhere else to go,
// or has something in progress, stays. Leave returns when all are gone or the time is over.
func (s *Streams) Leave(ctx context.Context, within time.Duration) {
	s.mu.Lock()
	s.ends = true
	s.mu.Unlock()
	s.tell(false)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(leaveEvery)
	defer tick.Stop()
	for rounds := int(within / leaveEvery); ; rounds = max(1, rounds-1) {
		n := s.holder.Len()
		if n == 0 {
			return
		}
		if len(s.others()) > 0 { // another may just have begun to terminate as well
			s.holder.Leave((n + rounds - 1) / rounds)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
