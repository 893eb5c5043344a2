package pipeline

import (
	"context"
	"sync"
	"time"

	"wasmxds/signal/relay"
)

const (
	askEvery = time.Second
	askTime  = 3 * time.Second // that a server may take to answer
)

// hearing has this server hear, while it leads, what Envoys tell other servers.
type hearing struct {
	leader   *relay.Leader
	follower *relay.Follower
	rates    func() map[string]uint32 // of all that are watched
	term     func() uint64            // in which this server leads; 0: it does not
	living   func() []string          // other servers that live
	ask      func(ctx context.Context, server string, a relay.Ask) (relay.Answer, error)

	mu    sync.Mutex
	under map[string]bool // servers that have not answered yet
}

// run asks while anybody is watched, and has whom this server was to look at be left
// alone when it is not asked any more, until ctx ends.
func (h *hearing) run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	watched := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.follower.Expire(time.Now())
		term, rates := h.term(), h.rates()
		switch {
		case term == 0:
			watched = false
			h.leader.Deaf(time.Now())
			continue
		case len(rates) == 0 && !watched:
			continue
		}
		watched = len(rates) > 0 // else they are told so, once
		for server, a := range h.leader.Asks(time.Now(), term, rates, h.living()) {
			if h.begin(server) {
				under.Go(func() { h.one(ctx, server, a) })
			}
		}
	}
}

// begin says whether a server may be asked: one that has not answered yet is not.
func (h *hearing) begin(server string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.under[server] {
		return false
	}
	h.under[server] = true
	return true
}

// one asks a server. One that does not answer is not heard, which the leader notices.
func (h *hearing) one(ctx context.Context, server string, a relay.Ask) {
	short, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if answer, err := h.ask(short, server, a); err == nil {
		h.leader.Take(time.Now(), server, answer)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.under, server)
}
