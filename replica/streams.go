package replica

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"wasmxds/replica/spread"
)

// Holder is what holds the streams of a server's Envoys.
type Holder interface {
	Len() int           // how many there are
	Move(most int) int  // closes some, whose Envoys go elsewhere, and gives their number
	Leave(most int) int // closes some of a server that ends
}

// Streams tells other servers how many streams this one has, and has Envoys go to
// others where these have fewer. It is safe for concurrent use; make one by
// [NewStreams].
type Streams struct {
	registry *Registry
	holder   Holder
	log      *slog.Logger

	mu     sync.Mutex
	ready  bool // it has what Envoys are to have
	ends   bool
	spread spread.Spread
	share  float64
}

// NewStreams makes a Streams of a server, which does its work while Run runs.
func NewStreams(r *Registry, h Holder, log *slog.Logger) *Streams {
	return &Streams{registry: r, holder: h, log: log}
}

// Ready says that the server has what Envoys are to have.
func (s *Streams) Ready() {
	s.mu.Lock()
	s.ready = true
	takes := !s.ends
	s.mu.Unlock()
	s.tell(takes)
}

// tell has others know at once whether Envoys may come here.
func (s *Streams) tell(takes bool) {
	n := s.holder.Len()
	s.registry.TellNow(func(own *Member) { own.Takes, own.Streams = takes, n })
}

// Run has streams spread until ctx ends.
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

// look tells how many streams there are, and closes some if it is time for that.
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
		s.log.Info("other servers have fewer Envoys: some are sent there", "envoys", closed, "of", n, "share", int(s.share))
	}
}

// others are the servers that Envoys may go to.
func (s *Streams) others() []spread.Other {
	var all []spread.Other
	for _, h := range s.registry.Heard() {
		if h.Takes {
			all = append(all, spread.Other{Streams: h.Streams, At: h.At})
		}
	}
	return all
}

// Count is how many streams each server has, by id, and how many it would be for each
// if all had the same.
func (s *Streams) Count() (streams map[string]int, share float64) {
	streams = map[string]int{s.registry.ID(): s.holder.Len()}
	for _, h := range s.registry.Heard() {
		streams[h.ID] = h.Streams
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return streams, s.share
}

// leaveEvery is how often some are closed of a server that ends.
const leaveEvery = 50 * time.Millisecond

// Leave has Envoys go to other servers, as this one ends, evenly within a time, so that
// they do not all come at once. Who has nowhere else to go, or something under way,
// stays. It returns when all are gone or the time is over.
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
		if len(s.others()) > 0 { // or it has just begun to end as well
			s.holder.Leave((n + rounds - 1) / rounds)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
